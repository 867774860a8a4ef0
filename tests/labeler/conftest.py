"""Fixtures for the tests of the labeler."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.labeler.projects import on_postgresql


@pytest.fixture(params=["sqlite", "postgresql"])
def both_stores(request: pytest.FixtureRequest) -> Iterator[None]:
    """The test runs twice: with the labels in a file, and in a real database server."""
    if request.param == "sqlite":
        yield
        return
    with on_postgresql():
        yield
