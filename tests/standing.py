"""The routes of a service, made once in a process: that takes a quarter of a second, and from test to test only the
service behind them is another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts

from shared.web.answers import declared


class _Standing:
    """Routes, and the service that answers them at the moment."""

    def __init__(self, create_api: Callable[[Any], FastAPI], first: Any) -> None:
        self.first, self.service = first, None
        self.api = create_api(_Part(self, ()))
        self.first = None


class _Part:
    """The service, or a part of it, as routes hold it from when they are made: whatever the service is when asked."""

    def __init__(self, standing: _Standing, path: tuple[str, ...]) -> None:
        self._standing, self._path = standing, path

    def _of(self, service: Any) -> Any:
        for name in self._path:
            service = getattr(service, name)
        return service

    def __getattr__(self, name: str) -> Any:
        if self._standing.service is None:
            return _Part(self._standing, (*self._path, name))
        return getattr(self._of(self._standing.service), name)

    def __call__(self, *values: Any, **named: Any) -> Any:
        return self._of(self._standing.service)(*values, **named)

    def __iter__(self) -> Iterator[Any]:  # what a schema lists follows from settings: of the first service, as of all
        return iter(self._of(self._standing.first))


STANDING: dict[Callable[[Any], FastAPI], _Standing] = {}


@contextmanager
def api_of(create_api: Callable[[Any], FastAPI], service: Any) -> Iterator[FastAPI]:
    """The routes of this service; new ones if another service answers them already."""
    standing = STANDING.get(create_api) or STANDING.setdefault(create_api, _Standing(create_api, service))
    if standing.service is not None:
        yield create_api(service)
        return
    standing.service = service
    try:
        yield standing.api
    finally:
        standing.service = None


def refusals_by_schema(api: FastAPI) -> dict[str, set[int]]:
    """Path and method of each route → its refusals in the schema."""
    return {
        f"{method.upper()} {path}": {int(status) for status in operation["responses"] if int(status) >= 300}
        for path, operations in api.openapi()["paths"].items()
        for method, operation in operations.items()
    }


def refusals_by_route(api: FastAPI) -> dict[str, set[int]]:
    """The same, as a service finds them when it refuses."""
    routes = [each.original_route for each in iter_route_contexts(api.routes)]
    return {
        f"{method} {route.path_format}": declared(api, route)
        for route in routes
        if isinstance(route, APIRoute) and route.include_in_schema
        for method in route.methods
    }
