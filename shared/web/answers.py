"""How both services parse requests and refuse them: one JSON shape, one sentence, and an OpenAPI schema that matches.

This module knows HTTP, but nothing about labels or models. `keep_to_schema` makes a FastAPI application parse JSON
strictly, answer every refusal with `{"detail": sentence}` and declare these answers. A route declares its own refusals
with `responses=refusals(404)`. A refusal that the schema does not declare is logged, and fails the test that met it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Collection, Mapping
from json import JSONDecodeError
from typing import Any, Final, TypeVar

from fastapi import FastAPI, Request, Response
from fastapi.dependencies.models import Dependant
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
"""Parts of pydantic's error locations that are not names from the request."""
_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([^\s;\"]*)")

EVERY: Final[Mapping[int, str]] = {
    400: "The request cannot be read.",
    401: "The token is missing or wrong.",
    403: "The request comes from another web page, or uses a host name that is not the service's.",
    408: "The request comes too slowly.",
    429: "Too many requests, or too many wrong tokens: try again in a few seconds.",
    431: "The headers are too large.",
    503: "The service is too busy: try again in a few seconds.",
    507: "The disk cannot be written to. `disk` has the details.",
}
"""Refusals that any request may get, most of them before a route is called."""
MEANINGS: Final[Mapping[int, str]] = {
    304: "The client's cached copy is still valid.",
    403: "It belongs to somebody else.",
    404: "It does not exist.",
    409: "This is not possible in the current state. Fields beside `detail` say how to continue.",
    410: "It existed, but has been deleted.",
    413: "The body is too large.",
    422: "A value is not valid. If several are invalid, fields beside `detail` name all of them.",
    503: "The trainer does not answer, or the service is too busy.",
}
"""Status → its meaning on the routes that declare it."""
NOT_OPEN: Final = (401, 403, 507)
"""Statuses of `EVERY` that `/health` never returns."""


class Refusal(BaseModel):
    """A refusal: one sentence for a person. Some carry more fields, which say how to continue."""

    model_config = ConfigDict(extra="allow")

    detail: str


class StrictRoute(APIRoute):
    """A route that parses JSON strictly: see `StrictRequest`."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        """Return FastAPI's handler, called with a `StrictRequest`."""
        handle = super().get_route_handler()

        async def handle_strictly(request: Request) -> Response:
            return await handle(StrictRequest(request.scope, request.receive))

        return handle_strictly


class StrictRequest(Request):
    """A request whose JSON may contain neither NaN nor lone surrogates, which no store accepts, nor more than 200
    levels of nesting. Python's own parser accepts the former, and overflows on deeply nested lists."""

    async def json(self) -> Any:
        """Parse the body. Raises JSONDecodeError."""
        if not hasattr(self, "_json"):
            try:
                self._json = strict_json(await self.body())
            except ValueError as error:
                raise JSONDecodeError(str(error), "", 0) from None
        return self._json


def strict_json(text: bytes) -> Any:
    """Parse JSON; 3.0 becomes 3, as JSON Schema defines it. Raises ValueError with a reason, also for the NUL
    character, which neither PostgreSQL nor file names accept."""
    said = from_json(text, allow_inf_nan=False)
    return _plain(said) if _NOT_PLAIN.search(text) else said


async def read_json(request: Request, kind: type[M]) -> M:
    """Validate the body of a route that accepts JSON or a form. Raises RequestValidationError."""
    try:
        return kind.model_validate(strict_json(await request.body()))
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from None
    except ValueError as error:
        raise RequestValidationError([{"type": "json_invalid", "loc": (), "msg": str(error)}]) from None


class PlainText:
    """Middleware that refuses malformed text before any route reads it: control characters or `..` in the path, NUL in
    the query, and charsets other than UTF-8, some of which fail to decode or decode to text that cannot be stored."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse the request, or pass it on."""
        refusal = _unplain(scope) if scope["type"] == "http" else None
        await (refusal or self._app)(scope, receive, send)


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses=` of a route that refuses with these statuses, in addition to those of every route."""
    return {status: {"description": MEANINGS[status]} for status in statuses}


def content(*media_types: str) -> dict[int | str, dict[str, Any]]:
    """The `responses=` of a route that answers 200 with something other than JSON."""
    binary: dict[str, Any] = {"type": "string", "format": "binary"}
    kinds = {media_type: {} if media_type == "application/json" else binary for media_type in media_types}
    return {200: {"content": {media_type: {"schema": schema} for media_type, schema in kinds.items()}}}


def refuse(status: int, detail: str, **fields: Any) -> JSONResponse:
    """Build the JSON answer of a refusal."""
    return JSONResponse({"detail": detail, **fields}, status)


def sentence(errors: Any) -> str:
    """Turn the first of pydantic's errors into a sentence for a person."""
    first = errors[0]
    where = ".".join(str(part) for part in first["loc"] if part not in _NOT_SAID)
    if first["type"] == "json_invalid":
        return f"The request is not valid JSON: {first.get('ctx', {}).get('error') or first['msg']}."
    message = str(first["msg"]).removeprefix("Value error, ")
    if first["type"] == "string_too_long":
        message = f"it has {len(first['input']):,} characters, and {first['ctx']['max_length']:,} at most are possible"
    return f"The request's {where} is not valid: {message}." if where else f"The request is not valid: {message}."


def refused(request: Request, status: int, detail: str, **fields: Any) -> JSONResponse:
    """Like `refuse`, and log a warning if the schema does not declare this status for the route."""
    api, route = request.app, request.scope.get("route")
    if isinstance(api, FastAPI) and isinstance(route, APIRoute) and status not in declared(api, route):
        logger.warning("%s %s answers %d, which its schema does not name", request.method, route.path, status)
    return refuse(status, detail, **fields)


def declared(api: FastAPI, route: APIRoute) -> set[int]:
    """The refusals that the schema declares for a route in it. Making the schema would take a third of a second."""
    said = route.openapi_extra or {}
    has_body = route.body_field is not None or "requestBody" in said
    reads = has_body or "parameters" in said or _has_parameters(route.dependant)
    own = {int(status) for status in route.responses}
    return set(_meanings(route.path_format, own, api.state.everywhere_but, has_body=has_body, reads=reads))


def keep_to_schema(api: FastAPI, everywhere_but: Mapping[int, Collection[str]] | None = None) -> None:
    """Make `api` parse strictly, refuse in sentences, and declare both in its schema. Call it before routes are added.

    `everywhere_but`: additional statuses that every route may answer with, each mapped to the paths that never do.
    """
    api.router.route_class = StrictRoute
    api.state.everywhere_but = everywhere_but or {}
    api.add_exception_handler(RequestValidationError, _unreadable)
    api.add_exception_handler(HTTPException, _plain_refusal)
    described = api.openapi

    def openapi() -> dict[str, Any]:
        if api.openapi_schema is None:
            api.openapi_schema = complete(described(), everywhere_but or {})
        return api.openapi_schema

    api.openapi = openapi  # type: ignore[method-assign]  # as FastAPI's documentation does it


def complete(schema: dict[str, Any], everywhere_but: Mapping[int, Collection[str]]) -> dict[str, Any]:
    """Add every refusal to FastAPI's schema, and correct its numbers and tuples."""
    schema = _exact(schema)
    kinds = schema.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        kinds.pop(name, None)
    kinds["Refusal"] = Refusal.model_json_schema()
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            own = {int(status) for status in operation["responses"]}
            has_body = "requestBody" in operation
            reads = has_body or "parameters" in operation
            meanings = _meanings(path, own, everywhere_but, has_body=has_body, reads=reads)
            given = {status: response for status, response in operation["responses"].items() if int(status) < 300}
            operation["responses"] = given | {
                str(status): _said(status, meanings[status]) for status in sorted(meanings)
            }
    return schema


# ---------------------------------------------------------------- inside


def _meanings(
    path: str, own: set[int], everywhere_but: Mapping[int, Collection[str]], *, has_body: bool, reads: bool
) -> dict[int, str]:
    """Status → meaning of each refusal of a route. `own`: the statuses that it names; `reads`: whether it has a body
    or parameters."""
    own = own | {status for status, others in everywhere_but.items() if path not in others}
    if "{" in path:
        own.add(404)
    if has_body:
        own.add(413)
    if reads:
        own.add(422)
    meanings = {status: EVERY[status] for status in EVERY if path != "/health" or status not in NOT_OPEN}
    return meanings | {status: MEANINGS[status] for status in own if status >= 300}


def _has_parameters(dependant: Dependant) -> bool:
    kinds = (dependant.path_params, dependant.query_params, dependant.header_params, dependant.cookie_params)
    return any(kinds) or any(_has_parameters(each) for each in dependant.dependencies)


async def _unreadable(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered only for it
    return refused(request, 422, sentence(error.errors()))


async def _plain_refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered only for it
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
    """All methods of the requested address: the router reports only those of the first matching route."""
    path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    paths = request.app.openapi()["paths"]
    named = [path] if path in paths else [each for each in paths if compile_path(each)[0].match(path)]
    return sorted({method.upper() for each in named for method in paths[each]})


def _said(status: int, meaning: str) -> dict[str, Any]:
    if status == 304:
        return {"description": meaning}
    kinds: dict[str, Any] = {"application/json": {"schema": {"$ref": "#/components/schemas/Refusal"}}}
    if status == 401:
        kinds["text/html"] = {"schema": {"type": "string"}}  # for a browser: the sign-in page
    return {"description": meaning, "content": kinds}


def _exact(schema: Any) -> Any:
    """Undo two changes that FastAPI makes: 2⁶³ − 1 rounded to the float 2⁶³, and arrays of one type written as
    tuples."""
    if isinstance(schema, list):
        return [_exact(each) for each in schema]
    if isinstance(schema, float) and abs(schema) == 2.0**63:
        return 2**63 - 1 if schema > 0 else -(2**63)
    if not isinstance(schema, dict):
        return schema
    schema = {name: _exact(each) for name, each in schema.items()}
    each, *others = schema.get("prefixItems") or [None]
    if each is not None and others == [each] * len(others):  # few clients support `prefixItems`
        schema["items"] = schema.pop("prefixItems")[0]
    return schema


def _unplain(scope: Scope) -> Response | None:
    if any(character < " " or character == "\x7f" for character in scope["path"]):
        return refuse(404, "There is nothing at this address: it holds a control character.")
    if ".." in re.split(r"[/\\]", scope["path"]):
        return refuse(404, "There is nothing at this address: `..` is not allowed in a path.")
    if b"%00" in scope["query_string"]:
        return refuse(400, "The query holds the character NUL: leave it out.")
    charset = _CHARSET.search(Headers(scope=scope).get("content-type", "").lower())
    if charset and charset[1] not in {"utf-8", "utf8"}:
        return refuse(400, f"Send the body as UTF-8, not as {charset[1][:40]}.")
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
