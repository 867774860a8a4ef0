"""Bodies of requests: how large one may be, and all that are under way together.

A form carries files, which go to the disk as they come, and may be large. Anything else is JSON, which becomes many
times its length in memory and keeps everybody waiting while it is read, so that it has a limit of its own. Nothing
behind this has read any of a body that is refused here.
"""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SMALL_BYTES = 131_072
"""A body up to here always passes: a label is never kept out by uploads."""
AGAIN_SECONDS = 5


class Bodies:
    """`most` bytes of one body, `most_json` where it is no form, and twice `most` of all larger ones together."""

    def __init__(self, most: int, most_json: int) -> None:
        self._most = most
        self._most_json = min(most, most_json)
        self._together = 2 * most
        self._held = 0

    async def forward(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app, and count what it reads: a body sent in chunks declares no length beforehand."""
        headers = Headers(scope=scope)
        body = _Body(self, _declared(headers), is_form=_is_form(headers))
        if body.refusal is not None:
            await body.refusal(scope, receive, send)
            return
        started = False

        async def counted() -> Message:
            message = await receive()
            body.read(len(message.get("body", b"")))
            # The app sees the client go away, which every framework ends in some way of its own …
            return message if body.refusal is None else {"type": "http.disconnect"}

        async def watched(message: Message) -> None:
            nonlocal started
            if started or body.refusal is None:
                started = True
                await send(message)

        try:
            await app(scope, counted, watched)
        except Exception:
            if started or body.refusal is None:
                raise
        finally:
            body.release()
        if not started and body.refusal is not None:
            await body.refusal(scope, receive, send)  # … and which is answered here in its place.

    def limit(self, *, is_form: bool) -> int:
        """Bytes of one body."""
        return self._most if is_form else self._most_json

    def hold(self, more: int) -> bool:
        """Count `more` bytes as under way; whether there is room for them."""
        if self._held + more > self._together:
            return False
        self._held += more
        return True

    def release(self, held: int) -> None:
        """They are dealt with."""
        self._held -= held


class _Body:
    """One body: what of it is counted, and why it is refused if it is."""

    def __init__(self, bodies: Bodies, declared: int, *, is_form: bool) -> None:
        self._bodies = bodies
        self._limit = bodies.limit(is_form=is_form)
        self._is_form = is_form
        self._read = self._held = 0
        self.refusal: Response | None = None
        self._expect(declared)

    def read(self, more: int) -> None:
        """So many bytes came."""
        self._read += more
        self._expect(self._read)

    def release(self) -> None:
        """The request is answered."""
        self._bodies.release(self._held)
        self._held = 0

    def _expect(self, length: int) -> None:
        if self.refusal is not None:
            return
        if length > self._limit:
            what = "The request is larger than" if self._is_form else "A request that is no form may not exceed"
            self.refusal = JSONResponse({"detail": f"{what} {self._limit:,} bytes: send it in parts."}, 413)
        elif length > max(SMALL_BYTES, self._held):
            if self._bodies.hold(length - self._held):
                self._held = length
            else:
                detail = "Other uploads take all the room for now: send this again in a few seconds."
                self.refusal = JSONResponse({"detail": detail}, 503, headers={"Retry-After": str(AGAIN_SECONDS)})


def _is_form(headers: Headers) -> bool:
    return headers.get("content-type", "").lower().startswith("multipart/form-data")


def _declared(headers: Headers) -> int:
    declared = headers.get("content-length", "")
    return int(declared) if declared.isascii() and declared.isdecimal() else 0
