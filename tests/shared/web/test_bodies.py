import asyncio

import pytest
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from shared.web.auth import Guard
from shared.web.bodies import SMALL_BYTES, Bodies
from tests.shared.guarded import APP, local, status_of

FORM = b"multipart/form-data; boundary=x"


def test_a_declared_body_that_is_too_large_never_reaches_the_app() -> None:
    client = local(max_request_bytes=10)
    assert client.post("/stop", content=b"x" * 10).json() == {"bytes": 10}
    answer = client.post("/stop", content=b"x" * 11)
    assert answer.status_code == 413
    assert "10 bytes" in answer.json()["detail"]


@pytest.mark.parametrize("path", ["/stop", "/forgiving"])
def test_a_body_in_chunks_is_counted(path: str) -> None:
    guard = Guard(APP, host="127.0.0.1", port=3334, token=None, max_request_bytes=10)
    assert status_of(guard, path=path, chunks=[b"x" * 6, b"x" * 4]) == 200
    assert status_of(guard, path=path, chunks=[b"x" * 6, b"x" * 5, b"x"]) == 413


def test_a_body_that_is_no_form_has_a_limit_of_its_own() -> None:
    client = local(max_request_bytes=1_000, max_json_bytes=100)
    assert client.post("/stop", json=["x" * 50]).status_code == 200
    for kind in ("application/json", "text/plain", "application/octet-stream", "application/x-www-form-urlencoded", ""):
        answer = client.post("/stop", content=b"{}" * 51, headers={"content-type": kind})
        assert answer.status_code == 413, kind
        assert "100 bytes" in answer.json()["detail"]
        assert "in parts" in answer.json()["detail"]
    assert client.post("/stop", files={"file": b"x" * 500}).status_code == 200
    assert client.post("/stop", files={"file": b"x" * 1_000}).status_code == 413


def test_uploads_are_bounded_together_and_labels_pass_by_them() -> None:
    most = 4 * SMALL_BYTES
    bodies = Bodies(most, most)
    seen: list[int] = []

    async def go() -> None:
        arrived, go_on = asyncio.Event(), asyncio.Event()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            if (await receive())["type"] == "http.disconnect":
                return
            arrived.set()
            await go_on.wait()
            await Response()(scope, receive, send)

        async def post(size: int, *, chunks: bool = False) -> int:
            sent: list[Message] = []
            length = [] if chunks else [(b"content-length", b"%d" % size)]
            scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"content-type", FORM), *length]}
            pieces = [{"type": "http.request", "body": b"x" * size, "more_body": False}]

            async def receive() -> Message:
                return pieces.pop(0)

            async def send(message: Message) -> None:
                sent.append(message)

            await bodies.forward(app, scope, receive, send)
            assert (dict(sent[0]["headers"]).get(b"retry-after") is not None) == (sent[0]["status"] == 503)
            return int(sent[0]["status"])

        large = [asyncio.create_task(post(most)) for _ in range(2)]
        await arrived.wait()
        seen.extend([await post(SMALL_BYTES + 1), await post(SMALL_BYTES + 1, chunks=True)])
        small = asyncio.create_task(post(SMALL_BYTES))
        await asyncio.sleep(0)
        go_on.set()
        seen.extend(await asyncio.gather(small, *large))
        seen.append(await post(most, chunks=True))

    asyncio.run(go())
    assert seen == [503, 503, 200, 200, 200, 200]
