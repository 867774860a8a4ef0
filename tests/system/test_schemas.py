"""The OpenAPI schema of each service against the service: whatever it allows or forbids is sent, and nothing fails."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzzing import Addresses, Service, both_services, fuzz

# A model file is made by a process of its own, which takes long: benchmarks/fuzz.py asks for those too.
WITHOUT = "^/models/.*/export$"
pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Addresses]:
    folder: Path = tmp_path_factory.mktemp("schemas")
    with both_services(folder) as addresses:
        yield addresses


@pytest.mark.filterwarnings("default")  # a service of its own turns no warning of a library's into a failure
@pytest.mark.parametrize("service", ["trainer", "labeler"])
def test_the_service_keeps_to_its_schema(services: Addresses, service: Service) -> None:
    found = fuzz(service, getattr(services, service), examples=4, without=WITHOUT)
    assert (found.failures, found.errors) == ({}, []), str(found)
    assert found.requests > 1_000
