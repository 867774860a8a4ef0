"""Who may talk to a service: one ASGI middleware around everything that it serves, including WebSockets.

It knows nothing about labels or models, only about addresses and one token. The rules depend on whether there is a
token:

- **No token, loopback only.** Everyone on this machine may do everything, but a web page from another site, shown by a
browser on this machine, may do nothing. `Host` must be a loopback name with our port (otherwise a foreign name was
rebound to 127.0.0.1). `Origin`, if present, must be this service. A request that the browser marks as coming from
another site (`Sec-Fetch-Site`) passes only if a person followed a link.
- **With a token.** Every request carries it as `Authorization: Bearer …`, or as the cookie that a browser gets for it
at `POST /api/session`. `Host` may then be any name, since a rebound name has no cookie. `Origin` must be that same
name, so that no page of another origin can use the cookie.

A link on another site may open our pages and nothing else, so that it cannot trigger what a GET route does.

A service that others can reach does not start without a token (`token_for` and `Guard` check this). The guard also
limits request bodies (`shared.web.bodies`) before anything reads them.
"""

from __future__ import annotations

import hmac
import math
import re
import secrets
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import parse_qs

from pydantic_core import from_json
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.settings.services import SettingsError, is_loopback
from shared.web import audit
from shared.web.attempts import MAX_DELAY, Attempts, TooManyAttempts
from shared.web.bodies import Bodies

TOKEN_VARIABLE: Final = "FLYWHEEL_TOKEN"  # noqa: S105 - the name of the variable, not a token
MIN_TOKEN_LENGTH: Final = 16
SESSION_PATH: Final = "/api/session"
COOKIE: Final = "flywheel_session"

_LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})
_AUTHORITY = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?")
_DEFAULT_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}
_MAX_SIGN_IN_BYTES = 4_096
_SAFE_METHODS = frozenset({"GET", "HEAD"})
# `Referrer-Policy: no-referrer` would make browsers send `Origin: null` with our own sign-in form.
_SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Guard:
    """The middleware. Only requests that pass reach `app`.

    `port` is the served port, or a function that returns it once known (port 0); while it is None, only the name in
    `Host` is checked. Anyone may GET the paths in `public`. A link on another site may open paths for which `is_page`
    is true. Raises SettingsError for a `host` beyond loopback without a token.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        host: str,
        port: int | Callable[[], int | None] | None,
        token: str | None,
        public: frozenset[str] = frozenset({"/api/health"}),
        is_page: Callable[[str], bool] = lambda path: path == "/",
        max_request_bytes: int = 209_715_200,
        max_json_bytes: int = 8_388_608,
    ) -> None:
        if token is None and not is_loopback(host):
            raise SettingsError(_no_token(host))
        self._app = app
        self._port = port
        self._token = token
        self._public = public
        self._is_page = is_page
        self._bodies = Bodies(max_request_bytes, max_json_bytes)
        self._names = _LOOPBACK_NAMES | {f"[{host}]" if ":" in host else host.lower()}
        self._attempts = Attempts()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, refuse it, or pass it to the app."""
        if scope["type"] in ("http", "websocket"):  # "lifespan" events have no headers
            audit.begin((scope.get("client") or ("", 0))[0], Headers(scope=scope).get(audit.HEADER, ""))
        if scope["type"] == "http":
            await self._http(scope, receive, _with_security_headers(send))
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        refusal: Response | None = None
        if not (scope["path"] in self._public and scope["method"] in _SAFE_METHODS):
            problem = self._foreign(scope, headers) or self._cross_site(scope, headers)
            try:
                if problem:
                    refusal = _error(403, problem)
                elif self._token and scope["path"] == SESSION_PATH and scope["method"] == "POST":
                    refusal = await self._sign_in(self._token, scope, receive)
                elif not await self._signed_in(scope, headers):
                    refusal = _ask_to_sign_in(scope, headers)
            except TooManyAttempts:
                refusal = _error(429, "Too many wrong tokens came from this address: try again in a few seconds.")
        if refusal is not None:
            await refusal(scope, receive, send)
        else:
            await self._bodies.forward(self._app, scope, receive, send)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        problem = self._foreign(scope, headers)
        try:
            if problem is None and not await self._signed_in(scope, headers):
                problem = "This needs the token."
        except TooManyAttempts:
            problem = "Too many wrong tokens came from this address."
        if problem is None:
            await self._app(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008, "reason": problem[:120]})

    def _foreign(self, scope: Scope, headers: Headers) -> str | None:
        """The fault of `Host` or `Origin`, or None if they are ours."""
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        host = _authority(hosts[0], scope["scheme"]) if len(hosts) == 1 else None
        if host is None:
            return "The request needs one Host header with a name and a port."
        own_port = self._port() if callable(self._port) else self._port
        if self._token is None and not self._is_own(host, own_port):
            return f"The name {hosts[0][:100]!r} is not this service's: open http://127.0.0.1:{own_port} instead."
        if not origins:
            return None
        scheme, _, rest = origins[0].partition("://")
        origin = _authority(rest, scheme) if len(origins) == 1 and scheme in {"http", "https"} else None
        # Behind a proxy that ends TLS we serve http while the origin says https: use the default port of the origin's
        # scheme.
        expected = self._is_own(origin, own_port) if self._token is None else origin == _authority(hosts[0], scheme)
        return None if origin and expected else "Another web page may not use this service."

    def _is_own(self, authority: tuple[str, int] | None, own_port: int | None) -> bool:
        return authority is not None and authority[0] in self._names and own_port in (None, authority[1])

    def _cross_site(self, scope: Scope, headers: Headers) -> str | None:
        """Refuse what the browser itself marks as another site's request.

        Browsers have sent this mark to loopback since 2020–23. A link that a person
        followed may come from anywhere, but only to a page.
        """
        if headers.get("sec-fetch-site") not in {"cross-site", "same-site"}:
            return None
        followed = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
        if followed and scope["method"] in _SAFE_METHODS and self._is_page(scope["path"]):
            return None
        return "Another web page may not use this service."

    async def _signed_in(self, scope: Scope, headers: Headers) -> bool:
        """Whether the request carries the token or its cookie. The answer to a wrong token is delayed; a missing one is
        answered at once."""
        token = self._token
        if token is None:
            return True
        scheme, _, given = headers.get("authorization", "").partition(" ")
        cookie = cookie_parser(headers.get("cookie", "")).get(COOKIE)
        if scheme.lower() == "bearer" and given:
            return await self._attempts.check(scope.get("client"), lambda: _equal(given.strip(), token))
        # Cookies cannot be guessed, so a wrong one (from an earlier token) is not counted as an attempt.
        return cookie is not None and _is_cookie_of(token, cookie)

    async def _sign_in(self, token: str, scope: Scope, receive: Receive) -> Response:
        """Exchange the token for the cookie: accepts JSON from a program or the form of the sign-in page."""
        body = await _read(receive, _MAX_SIGN_IN_BYTES)
        is_json = Headers(scope=scope).get("content-type", "").partition(";")[0].strip() == "application/json"
        given = _given_token(body, is_json)
        if not await self._attempts.check(scope.get("client"), lambda: _equal(given, token)):
            return _error(401, "This is not the token.") if is_json else _form("This is not the token.")
        response = Response(status_code=204) if is_json else RedirectResponse("/", status_code=303)
        secure = scope["scheme"] == "https"
        cookie = _cookie_of(token, salt=secrets.token_hex(16))
        response.set_cookie(COOKIE, cookie, httponly=True, samesite="strict", secure=secure, path="/")
        return response


def token_for(host: str, environ: Mapping[str, str]) -> str | None:
    """The token of a service that listens on `host`, from FLYWHEEL_TOKEN; None if none is set and none is needed.

    Raises SettingsError if `host` can be reached from elsewhere and there is no token, or if the token is too weak.
    """
    token = environ.get(TOKEN_VARIABLE, "")
    if not token and is_loopback(host):
        return None
    if not token:
        raise SettingsError(_no_token(host))
    if len(token) < MIN_TOKEN_LENGTH or not re.fullmatch(r"[!-~]+", token):
        raise SettingsError(
            f"{TOKEN_VARIABLE} must be at least {MIN_TOKEN_LENGTH} letters, digits or signs without spaces:"
            f" {_HOW_TO_MAKE_ONE} makes a good one."
        )
    return token


def client_headers(token: str | None) -> dict[str, str]:
    """The headers that a program sends so that a service lets it in."""
    return {} if token is None else {"Authorization": f"Bearer {token}"}


_HOW_TO_MAKE_ONE = '`python -c "import secrets; print(secrets.token_urlsafe(32))"`'


def _no_token(host: str) -> str:
    return (
        f"Listening on {host!r} lets other machines in, which needs a token in {TOKEN_VARIABLE}:"
        f" {_HOW_TO_MAKE_ONE} makes one."
    )


def _authority(text: str, scheme: str) -> tuple[str, int] | None:
    """Name and port of `name[:port]`, or None if the text has another form."""
    match = _AUTHORITY.fullmatch(text.lower())
    return match and (match["name"], int(match["port"] or _DEFAULT_PORTS[scheme]))


def _equal(given: str, expected: str) -> bool:
    """Compare in constant time, so that timing does not reveal how much of it was right."""
    return hmac.compare_digest(given.encode(), expected.encode())


def _cookie_of(token: str, salt: str) -> str:
    """A value that proves knowledge of the token and stays valid when the service restarts."""
    return f"{salt}.{hmac.digest(token.encode(), f'session {salt}'.encode(), 'sha256').hex()}"


def _is_cookie_of(token: str, cookie: str) -> bool:
    return _equal(cookie, _cookie_of(token, salt=cookie.partition(".")[0]))


async def _read(receive: Receive, limit: int) -> bytes:
    """The body, or nothing if it is longer than `limit` bytes or the client left."""
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if message["type"] == "http.disconnect" or len(body) > limit:
            return b""
        if not message.get("more_body", False):
            return body


def _given_token(body: bytes, is_json: bool) -> str:
    """The token in a body, or "". `json.loads` would accept lone surrogates and overflow on deeply nested lists."""
    try:
        given = from_json(body)["token"] if is_json else parse_qs(body.decode())["token"][0]
    except (ValueError, KeyError, TypeError):
        return ""
    return given if isinstance(given, str) else ""


def _error(status: int, detail: str) -> Response:
    more = {401: {"WWW-Authenticate": "Bearer"}, 429: {"Retry-After": str(math.ceil(MAX_DELAY))}}
    return JSONResponse({"detail": detail}, status, headers=more.get(status))


def _ask_to_sign_in(scope: Scope, headers: Headers) -> Response:
    if scope["method"] in _SAFE_METHODS and "text/html" in headers.get("accept", ""):
        return _form()
    return _error(401, f"This needs the token: send `Authorization: Bearer` with the value of {TOKEN_VARIABLE}.")


def _form(problem: str = "") -> Response:
    page = _SIGN_IN.replace("<!--problem-->", f'<p role="alert">{problem}</p>' if problem else "")
    policy = (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    return HTMLResponse(page, 401, headers={"Content-Security-Policy": policy, "Cache-Control": "no-store"})


def _with_security_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _SECURITY_HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return send_with_headers


_SIGN_IN = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Flywheel: sign in</title>
<style>
  :root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
  body { max-width: 24rem; margin: 15vh auto; padding: 0 1rem; }
  input, button { font: inherit; width: 100%; padding: .5rem; margin-top: .5rem; box-sizing: border-box; }
</style>
<h1>Flywheel</h1>
<!--problem-->
<form method="post" action="/api/session">
  <label for="token">Token</label>
  <input id="token" name="token" type="password" autocomplete="current-password" required autofocus>
  <button>Sign in</button>
</form>
<p>The token is the value of FLYWHEEL_TOKEN where the service was started.</p>
</html>
"""
