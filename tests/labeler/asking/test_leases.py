from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labeler.asking.leases import Leases
from tests.labeler.projects import labeler, photos


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_lease_expires_unless_renewed() -> None:
    clock = Clock()
    leases = Leases(clock)
    leases.take(1, "tab", "ann", seconds=10)
    leases.take(2, "tab", "ann", seconds=10)
    clock.now = 9
    leases.take(1, "tab", "ann", seconds=10)
    clock.now = 10
    assert leases.leased() == [1]
    assert leases.holds(1, "tab")
    assert not leases.holds(2, "tab")


def test_free_all_but_some() -> None:
    leases = Leases()
    for image_id in (1, 2, 3):
        leases.take(image_id, "tab", "ann", seconds=10)
    leases.take(1, "other", "bob", seconds=10)
    leases.free("tab", keep=[2])
    assert {image_id: [lease.session for lease in leases.on(image_id)] for image_id in leases.leased()} == {
        1: ["other"],
        2: ["tab"],
    }


ACTIONS = st.one_of(
    st.tuples(st.just("take"), st.integers(1, 4), st.sampled_from("ab")),
    st.tuples(st.just("release"), st.integers(1, 4), st.sampled_from("ab")),
    st.tuples(st.just("free"), st.integers(1, 4), st.sampled_from("ab")),
    st.tuples(st.just("tick"), st.integers(1, 4), st.just("")),
)


@given(st.lists(ACTIONS, max_size=40))
def test_as_a_table_of_expiry_times(actions: list[tuple[str, int, str]]) -> None:
    clock = Clock()
    leases, table = Leases(clock), {}
    for action, number, session in actions:
        if action == "take":
            leases.take(number, session, session, seconds=5)
            table[number, session] = clock.now + 5
        elif action == "release":
            leases.release(number, session)
            table.pop((number, session), None)
        elif action == "free":
            leases.free(session, keep=[number])
            table = {key: at for key, at in table.items() if key[1] != session or key[0] == number}
        else:
            clock.now += number
        alive = {key for key, at in table.items() if at > clock.now}
        assert {(image_id, lease.session) for image_id in range(1, 5) for lease in leases.on(image_id)} == alive
        assert sorted(leases.leased()) == sorted({image_id for image_id, _ in alive})


@pytest.mark.usefixtures("both_stores")
def test_leases_survive_a_restart(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 8)
    with labeler(tmp_path) as service:
        held = [item.image_id for item in service.serve("ann", "her page", 3).items]
        left = [item.image_id for item in service.serve("bob", "his page", 2).items]
        service.serve("bob", "his page", 1, keep=left[1:])
    with labeler(tmp_path) as service:
        others = [item.image_id for item in service.serve("cem", "another", 8).items]
        assert sorted([*others, *held, left[1]]) == list(range(1, 9))  # and what bob gave back is free
        service.serve("cem", "another", 0)
        new_page = [item.image_id for item in service.serve("ann", "a new page", 3).items]
        assert new_page == held  # her own old page is closed
        again = service.serve("ann", "her page", 3, keep=held).items
        assert not {item.image_id for item in again} & set(held)  # two pages of one person differ, as ever
