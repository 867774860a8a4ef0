"""Limits on request bodies: how large one may be, and how many bytes may be in progress at once.

A form carries files, which are written to disk as they arrive, so it may be large. Everything else is JSON. It takes
many times its length in memory and blocks all other requests while it is parsed, so it has a limit of its own. A body
that is refused here has not been read by anything else.
"""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SMALL_BYTES = 131_072
"""A body up to this size always passes, so that uploads never block a label."""
AGAIN_SECONDS = 5


class Bodies:
    """Limits: `most` bytes per form, `most_json` per other body, and twice `most` for all larger bodies together."""

    def __init__(self, most: int, most_json: int) -> None:
        self._most = most
        self._most_json = min(most, most_json)
        self._together = 2 * most
        self._held = 0

    async def forward(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app and count what it reads: a body sent in chunks declares no length in advance."""
        headers = Headers(scope=scope)
        body = _Body(self, _declared(headers), is_form=_is_form(headers))
        if body.refusal is not None:
            await body.refusal(scope, receive, send)
            return
        started = False

        async def counted() -> Message:
            message = await receive()
            body.read(len(message.get("body", b"")))
            # The app sees a client that left; each framework handles that in its own way …
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
            await body.refusal(scope, receive, send)  # … so the refusal is sent from here.

    def limit(self, *, is_form: bool) -> int:
        """Maximum bytes of one body."""
        return self._most if is_form else self._most_json

    def hold(self, more: int) -> bool:
        """Reserve `more` bytes; returns whether there was room."""
        if self._held + more > self._together:
            return False
        self._held += more
        return True

    def release(self, held: int) -> None:
        """Free reserved bytes."""
        self._held -= held


class _Body:
    """One body: how many bytes of it are reserved, and the refusal if there is one."""

    def __init__(self, bodies: Bodies, declared: int, *, is_form: bool) -> None:
        self._bodies = bodies
        self._limit = bodies.limit(is_form=is_form)
        self._is_form = is_form
        self._read = self._held = 0
        self.refusal: Response | None = None
        self._expect(declared)

    def read(self, more: int) -> None:
        """Count `more` received bytes."""
        self._read += more
        self._expect(self._read)

    def release(self) -> None:
        """Free the reservation, because the request is answered."""
        self._bodies.release(self._held)
        self._held = 0

    def _expect(self, length: int) -> None:
        if self.refusal is not None:
            return
        if length > self._limit:
            what = "The request is larger than" if self._is_form else "Without a form, a request may not exceed"
            self.refusal = JSONResponse({"detail": f"{what} {self._limit:,} bytes: send it in parts."}, 413)
        elif length > max(SMALL_BYTES, self._held):
            if self._bodies.hold(length - self._held):
                self._held = length
            else:
                detail = "Other uploads are using all the space: try again in a few seconds."
                self.refusal = JSONResponse({"detail": detail}, 503, headers={"Retry-After": str(AGAIN_SECONDS)})


def _is_form(headers: Headers) -> bool:
    return headers.get("content-type", "").lower().startswith("multipart/form-data")


def _declared(headers: Headers) -> int:
    declared = headers.get("content-length", "")
    return int(declared) if declared.isascii() and declared.isdecimal() else 0
