import asyncio

import pytest

from shared.web.attempts import (
    FORGET_SECONDS,
    MAX_DELAY,
    MOST_ADDRESSES,
    MOST_WAITING,
    MOST_WAITING_IN_ALL,
    Attempts,
    TooManyAttempts,
    delay_after,
    network_of,
)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    noted: list[float] = []

    async def note(seconds: float) -> None:
        noted.append(seconds)

    monkeypatch.setattr("shared.web.attempts.sleep", note)
    return noted


def right() -> bool:
    return True


def wrong() -> bool:
    return False


def check(attempts: Attempts, host: str, is_right: bool) -> bool:
    return asyncio.run(attempts.check((host, 1), right if is_right else wrong))


def test_each_address_waits_for_its_own(waits: list[float]) -> None:
    attempts = Attempts()
    for _ in range(10):
        assert not check(attempts, "192.0.2.1", is_right=False)
    assert waits == [delay_after(count) for count in range(1, 11)]
    assert waits[-1] == MAX_DELAY
    assert not check(attempts, "192.0.2.2", is_right=False)
    assert waits[-1] == delay_after(1)
    assert check(attempts, "192.0.2.1", is_right=True)
    check(attempts, "192.0.2.1", is_right=False)
    assert waits[-1] == delay_after(1)


def test_old_ones_are_forgotten(waits: list[float]) -> None:
    clock = 1_000.0
    attempts = Attempts(lambda: clock)
    for _ in range(5):
        check(attempts, "192.0.2.1", is_right=False)
    clock += FORGET_SECONDS + 1
    check(attempts, "192.0.2.1", is_right=False)
    assert waits[-1] == delay_after(1)


def test_few_answers_of_one_address_wait_and_not_many_of_all() -> None:
    async def flood(*hosts: str) -> tuple[int, list[bool]]:
        attempts = Attempts()
        waiting = [asyncio.create_task(attempts.check((host, 1), wrong)) for host in hosts]
        await asyncio.sleep(0)
        refused = [isinstance(task.exception(), TooManyAttempts) for task in waiting if task.done()]
        owner = [await attempts.check(("192.0.2.250", 1), right)]
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert not attempts._waiting
        return sum(refused), owner

    assert asyncio.run(flood(*["192.0.2.1"] * 30)) == (30 - MOST_WAITING, [True])
    many = [f"198.51.{number // 250}.{number % 250}" for number in range(MOST_WAITING_IN_ALL + 25)]
    assert asyncio.run(flood(*many)) == (25, [True])


def test_few_addresses_are_remembered(waits: list[float]) -> None:
    attempts = Attempts()

    async def from_everywhere() -> None:
        for number in range(MOST_ADDRESSES + 500):
            await attempts.check((f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 1), wrong)

    asyncio.run(from_everywhere())
    assert len(attempts._wrong) == MOST_ADDRESSES


def test_which_addresses_count_as_one() -> None:
    assert network_of(("2001:db8:1:2:3::4", 1)) == network_of(("2001:db8:1:2::9", 2)) == "2001:db8:1:2::"
    assert network_of(("2001:db8:1:3::9", 2)) == "2001:db8:1:3::"
    assert network_of(("::ffff:192.0.2.1", 1)) == network_of(("192.0.2.1", 2)) == "192.0.2.1"
    assert network_of(("::1", 1)) == "::1"
    assert network_of(("fe80::1%eth0", 1)) == "fe80::"
    assert network_of(None) == ""
    assert network_of(("testclient", 1)) == "testclient"
