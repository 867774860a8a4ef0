import contextlib
import threading
from collections import Counter
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from labeler.push import Events


class Counting:
    """A state that changes."""

    number = 0

    def __call__(self) -> dict[str, Any]:
        return {"number": self.number}


def app(events: Events) -> Starlette:
    return Starlette(routes=[WebSocketRoute("/events", events.serve)])


def test_every_page_ends_with_the_newest_state_however_often_it_changes() -> None:
    state = Counting()
    events = Events()
    events.tell(state)

    def change() -> None:
        for _ in range(2_000):
            state.number += 1
            events.notify()

    with TestClient(app(events)) as client:
        with client.websocket_connect("/events") as one, client.websocket_connect("/events") as other:
            thread = threading.Thread(target=change)
            thread.start()
            received: Counter[int] = Counter()
            for place, page in enumerate((one, other)):
                while page.receive_json()["number"] < 2_000:
                    received[place] += 1
            thread.join()
        assert max(received.values(), default=0) < 500  # they were told of states, not of changes
        assert not events._pages


def test_many_pages_share_what_they_are_told() -> None:
    state = Counting()
    taken = 0

    def snapshot() -> dict[str, Any]:
        nonlocal taken
        taken += 1
        return state()

    events = Events()
    events.tell(snapshot)
    with TestClient(app(events)) as client, contextlib.ExitStack() as stack:
        pages = [stack.enter_context(client.websocket_connect("/events")) for _ in range(8)]
        told = [page.receive_json()["number"] for page in pages]
        taken = 0
        for state.number in range(1, 6):
            events.notify()
            for place, page in enumerate(pages):
                while told[place] < state.number:
                    told[place] = page.receive_json()["number"]
    assert 5 <= taken < 20  # not one for each page


@pytest.mark.parametrize(
    "said", ["[" * 100_000, '"\\ud800"', b"\xff\x00", b""], ids=["deep", "half a pair", "bytes", "nothing"]
)
def test_messages_from_a_page_are_ignored(said: str | bytes) -> None:
    state = Counting()
    events = Events()
    events.tell(state)
    with TestClient(app(events)) as client, client.websocket_connect("/events") as page:
        assert page.receive_json() == {"number": 0}
        page.send_bytes(said) if isinstance(said, bytes) else page.send_text(said)
        state.number = 1
        events.notify()
        assert page.receive_json() == {"number": 1}


def test_a_change_without_an_open_page_is_told_to_the_next_page() -> None:
    state, events = Counting(), Events()
    events.tell(state)
    state.number = 2
    events.notify()
    with TestClient(app(events)) as client, client.websocket_connect("/events") as page:
        assert page.receive_json() == {"number": 2}


def test_changes_that_come_with_time_alone_are_told_too() -> None:
    state, events = Counting(), Events(stale=0.2)
    events.tell(state)
    with TestClient(app(events)) as client, client.websocket_connect("/events") as page:
        assert page.receive_json() == {"number": 0}
        state.number = 1  # like the labels per minute, which fall while nobody labels
        assert page.receive_json() == {"number": 1}


def test_a_page_that_cannot_be_told_is_let_go_so_that_it_comes_again() -> None:
    def broken() -> dict[str, Any]:
        raise OSError("the disk is full")

    events = Events()
    events.tell(broken)
    with TestClient(app(events)) as client, client.websocket_connect("/events") as page:
        with pytest.raises(WebSocketDisconnect) as closed:
            page.receive_json()
        assert closed.value.code == 1011
    assert not events._pages
