"""How both services read a request and say no: one shape, one sentence, and an OpenAPI schema that says the same.

It knows HTTP and nothing of labels or models. `keep_to_schema` makes an application of FastAPI's read JSON strictly,
answer every refusal as `{"detail": sentence}` and declare it. What a route may refuse beyond what every route does, it
says by `responses=refusals(404)`; a refusal that its schema does not name is logged, and fails the test that met it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Collection, Mapping
from json import JSONDecodeError
from typing import Any, Final, TypeVar

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import from_json
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.routing import compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

logger = logging.getLogger(__name__)
M = TypeVar("M", bound=BaseModel)
_NOT_PLAIN = re.compile(rb"\\u0000|[0-9](\.0+|[eE][+-]?[0-9]+)[\s,\]}]")
_NOT_SAID = frozenset({"body", "query", "path", "int", "str", "constrained-int", "constrained-str"})
"""Parts of pydantic's locations that are no names of the sender's."""
_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([^\s;\"]*)")

EVERY: Final[Mapping[int, str]] = {
    400: "The request cannot be read.",
    401: "The token is missing or wrong.",
    403: "The request comes from another web page, or under another name than the service's.",
    408: "The request comes too slowly.",
    429: "Too many requests, or too many wrong tokens: try again in a few seconds.",
    431: "The headers are too large.",
    503: "Too much is under way: try again in a few seconds.",
    507: "The disk refuses to write. `disk` says more.",
}
"""Refusals that any request may get, most of them before a route is asked."""
MEANINGS: Final[Mapping[int, str]] = {
    304: "The copy that the client has is still right.",
    403: "It is somebody else's.",
    404: "There is no such thing.",
    409: "It cannot be done as things are now. Fields beside `detail` say how to go on.",
    410: "It was there, and is gone.",
    413: "The body is too large.",
    422: "A value is not valid. Where there may be several, fields beside `detail` name all of them.",
    503: "The trainer does not answer, or much is under way.",
}
"""What it means where a route declares it."""
NOT_OPEN: Final = (401, 403, 507)
"""Those of them that nobody gets who asks whether a service answers."""


class Refusal(BaseModel):
    """An answer that says no: one sentence for a person. Some carry more fields, which say how to go on."""

    model_config = ConfigDict(extra="allow")

    detail: str


class StrictRoute(APIRoute):
    """A route that reads JSON as its specification has it: see `StrictRequest`."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        """FastAPI's handler, given a request that reads so."""
        handle = super().get_route_handler()

        async def handle_strictly(request: Request) -> Response:
            return await handle(StrictRequest(request.scope, request.receive))

        return handle_strictly


class StrictRequest(Request):
    """A request whose JSON holds no NaN and no half of a surrogate pair, which nothing behind it could store, and is
    nested at most 200 deep. Python's own reader takes all that, and overflows on deep lists."""

    async def json(self) -> Any:
        """The body. Raises JSONDecodeError."""
        if not hasattr(self, "_json"):
            try:
                self._json = strict_json(await self.body())
            except ValueError as error:
                raise JSONDecodeError(str(error), "", 0) from None
        return self._json


def strict_json(text: bytes) -> Any:
    """What JSON says. 3.0 is 3, as JSON Schema has it. Raises ValueError with a reason, also for the character NUL,
    which neither PostgreSQL nor a file name takes."""
    said = from_json(text, allow_inf_nan=False)
    return _plain(said) if _NOT_PLAIN.search(text) else said


async def read_json(request: Request, kind: type[M]) -> M:
    """The body of a route that takes JSON or a form. Raises RequestValidationError."""
    try:
        return kind.model_validate(strict_json(await request.body()))
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from None
    except ValueError as error:
        raise RequestValidationError([{"type": "json_invalid", "loc": (), "msg": str(error)}]) from None


class PlainText:
    """Middleware: what no text can be is refused before it is read as one. No route has an address with control
    characters, no store or file takes NUL, and of the codecs that a form may name, some fail and others make text that
    nothing can store."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or hand the request on."""
        refusal = _unplain(scope) if scope["type"] == "http" else None
        await (refusal or self._app)(scope, receive, send)


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """`responses=` of a route: it refuses with these statuses, beside those that every route has."""
    return {status: {"description": MEANINGS[status]} for status in statuses}


def content(*media_types: str) -> dict[int | str, dict[str, Any]]:
    """`responses=` of a route that answers 200 with something else than JSON."""
    binary: dict[str, Any] = {"type": "string", "format": "binary"}
    kinds = {media_type: {} if media_type == "application/json" else binary for media_type in media_types}
    return {200: {"content": {media_type: {"schema": schema} for media_type, schema in kinds.items()}}}


def refuse(status: int, detail: str, **fields: Any) -> JSONResponse:
    """The answer that says no."""
    return JSONResponse({"detail": detail, **fields}, status)


def sentence(errors: Any) -> str:
    """The first of pydantic's errors, for a person."""
    first = errors[0]
    where = ".".join(str(part) for part in first["loc"] if part not in _NOT_SAID)
    if first["type"] == "json_invalid":
        return f"The request is not valid JSON: {first.get('ctx', {}).get('error') or first['msg']}."
    message = str(first["msg"]).removeprefix("Value error, ")
    return f"The request's {where} is not valid: {message}." if where else f"The request is not valid: {message}."


def refused(request: Request, status: int, detail: str, **fields: Any) -> JSONResponse:
    """`refuse`, once it is certain that the schema names the status for the route that was asked."""
    route = request.scope.get("route")
    if isinstance(request.app, FastAPI) and isinstance(route, APIRoute):
        operation = request.app.openapi()["paths"].get(route.path_format, {}).get(request.method.lower(), {})
        if operation and str(status) not in operation["responses"]:
            logger.warning("%s %s answers %d, which its schema does not name", request.method, route.path, status)
    return refuse(status, detail, **fields)


def keep_to_schema(api: FastAPI, everywhere_but: Mapping[int, Collection[str]] | None = None) -> None:
    """Let `api` read strictly and refuse in sentences, and its schema say so. Call it before routes are added.

    `everywhere_but`: further statuses that every route may answer with, but for those paths.
    """
    api.router.route_class = StrictRoute
    api.add_exception_handler(RequestValidationError, _unreadable)
    api.add_exception_handler(HTTPException, _plain_refusal)
    described = api.openapi

    def openapi() -> dict[str, Any]:
        if api.openapi_schema is None:
            api.openapi_schema = complete(described(), everywhere_but or {})
        return api.openapi_schema

    api.openapi = openapi  # type: ignore[method-assign]  # as FastAPI's documentation has it


def complete(schema: dict[str, Any], everywhere_but: Mapping[int, Collection[str]]) -> dict[str, Any]:
    """FastAPI's schema with every refusal in it, and numbers as they are."""
    schema = _exact(schema)
    kinds = schema.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        kinds.pop(name, None)
    kinds["Refusal"] = Refusal.model_json_schema()
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            own = {int(status) for status in operation["responses"]}
            own.update(status for status, others in everywhere_but.items() if path not in others)
            if "{" in path:
                own.add(404)
            if "requestBody" in operation:
                own.add(413)
            if "requestBody" in operation or "parameters" in operation:
                own.add(422)
            meanings = {status: EVERY[status] for status in EVERY if path != "/health" or status not in NOT_OPEN}
            meanings |= {status: MEANINGS[status] for status in own if status >= 300}
            given = {status: response for status, response in operation["responses"].items() if int(status) < 300}
            operation["responses"] = given | {
                str(status): _said(status, meanings[status]) for status in sorted(meanings)
            }
    return schema


# ---------------------------------------------------------------- inside


async def _unreadable(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for it alone
    return refused(request, 422, sentence(error.errors()))


async def _plain_refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it alone
    detail, headers = error.detail, dict(error.headers or {})
    if error.status_code == 404 and detail == "Not Found":
        detail = "There is nothing at this address."
    if error.status_code == 405:
        headers["Allow"] = ", ".join(_methods(request))
        detail = f"{request.method} is not possible at this address, only {headers['Allow']}."
    answer = refuse(error.status_code, detail)
    answer.headers.update(headers)
    return answer


def _methods(request: Request) -> list[str]:
    """All that may be done at the address asked for: the router knows of the first route alone that has it."""
    path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    paths = request.app.openapi()["paths"]
    named = [path] if path in paths else [each for each in paths if compile_path(each)[0].match(path)]
    return sorted({method.upper() for each in named for method in paths[each]})


def _said(status: int, meaning: str) -> dict[str, Any]:
    if status == 304:
        return {"description": meaning}
    kinds: dict[str, Any] = {"application/json": {"schema": {"$ref": "#/components/schemas/Refusal"}}}
    if status == 401:
        kinds["text/html"] = {"schema": {"type": "string"}}  # for a browser: the page to sign in
    return {"description": meaning, "content": kinds}


def _exact(schema: Any) -> Any:
    """The schema with whole numbers that FastAPI made floats, which say 2⁶³ for 2⁶³ − 1, and tuples as plain arrays."""
    if isinstance(schema, list):
        return [_exact(each) for each in schema]
    if isinstance(schema, float) and abs(schema) == 2.0**63:
        return 2**63 - 1 if schema > 0 else -(2**63)
    if not isinstance(schema, dict):
        return schema
    schema = {name: _exact(each) for name, each in schema.items()}
    each, *others = schema.get("prefixItems") or [None]
    if each is not None and others == [each] * len(others):  # few readers know `prefixItems`
        schema["items"] = schema.pop("prefixItems")[0]
    return schema


def _unplain(scope: Scope) -> Response | None:
    if any(character < " " or character == "\x7f" for character in scope["path"]):
        return refuse(404, "There is nothing at this address: it holds a control character.")
    if ".." in re.split(r"[/\\]", scope["path"]):
        return refuse(404, "There is nothing at this address: it leads upwards.")
    if b"%00" in scope["query_string"]:
        return refuse(400, "The query holds the character NUL: leave it out.")
    charset = _CHARSET.search(Headers(scope=scope).get("content-type", "").lower())
    if charset and charset[1] not in {"utf-8", "utf8"}:
        return refuse(400, f"A body is read as UTF-8, not as {charset[1][:40]}.")
    return None


def _plain(said: Any) -> Any:
    if isinstance(said, float):
        return int(said) if said.is_integer() and abs(said) < 2.0**63 else said
    if isinstance(said, list):
        return [_plain(each) for each in said]
    if isinstance(said, dict):
        return {_plain(name): _plain(each) for name, each in said.items()}
    if isinstance(said, str) and "\0" in said:
        raise ValueError("it holds the character NUL")
    return said
