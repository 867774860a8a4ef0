"""Each service against its OpenAPI schema: it answers valid and invalid requests, and never fails."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.fuzzing import Addresses, Service, both_services, fuzz

# A model file is made by a process of its own, which takes long: benchmarks/fuzz.py asks for those too.
WITHOUT = "^/models/.*/export$"
pytestmark = pytest.mark.system

PARTS = ("0", "-1", str(2**63), "9" * 5_000, "true", "1e3", "%2F", "..%2f..", "%00", "%0A", "%ED%A0%80", "a" * 3_000)
"""Paths or query values as sent."""
QUERIES = ("{0}=", "{0}", "{0}=1&{0}=2", "{0}[]=1", "{0}=1%00", "{0}=%ED%A0%80", "{0}=NaN", "={0}", "&&{0}=%&")
BODIES = (
    *(
        b"",
        b"{",
        b"null",
        b"[]",
        b"NaN",
        b'{"a":1e999}',
        b'"\\ud800"',
        b'{"\\udfff":"\\u0000"}',
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
    ),
    *(b"[" * 100_000, b'{"a":' * 5_000, b"9" * 10_000, b'{"name":"a","name":"b"}', '{"name":"ä"}'.encode("utf-16")),
)
TYPES = (
    *(
        "application/json",
        "application/json; charset=utf-16",
        "text/plain",
        "application/x-www-form-urlencoded",
        "/",
        "ä",
    ),
    *("multipart/form-data", "multipart/form-data; boundary=x", "multipart/form-data; boundary=x; charset=punycode"),
)
FORM = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a\0/../%s"\r\n\r\n\xff\r\n--x--\r\n' % (
    b"b" * 5_000
)
HEADERS = (
    {"if-none-match": "\xff" * 50},
    {"accept": "\xff"},
    {"cookie": "flywheel_session=\xff"},
    {"range": "bytes=9-1"},
)


@pytest.fixture(scope="module")
def services() -> Iterator[Addresses]:
    with both_services() as addresses:
        yield addresses


@pytest.fixture(autouse=True)
def every_answer_is_in_the_schema(services: Addresses) -> Iterator[None]:
    """Both services go on, and have written of no answer that their schemas do not name."""
    yield
    for process in services.processes:
        assert process.process is not None
        assert process.process.poll() is None, "".join(process.log[-30:])
        assert not [line for line in process.log if "which its schema does not name" in line or "Traceback" in line]


def requests(schema: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, str], bytes]]:
    """Method, path, headers and body of nonsensical requests."""
    for path, operations in schema["paths"].items():
        if re.match(WITHOUT, path):
            continue
        for method, operation in operations.items():
            plain = re.sub(r"{.*?}", "1", path)
            for part in PARTS if "{" in path else ():
                yield method, re.sub(r"{.*?}", part, path), {}, b"{}"
            names = [each["name"] for each in operation.get("parameters", []) if each["in"] == "query"]
            for name in names[:3]:
                for query in [*(each.format(name) for each in QUERIES), *(f"{name}={part}" for part in PARTS)]:
                    yield method, f"{plain}?{query}", {}, b"{}"
            if "requestBody" in operation:
                yield from ((method, plain, {"content-type": TYPES[0]}, body) for body in BODIES)
                yield from ((method, plain, {"content-type": kind}, FORM) for kind in TYPES)
    yield from (("get", "/health", headers, b"") for headers in HEADERS)


@pytest.mark.parametrize("service", ["trainer", "labeler"])
def test_no_request_fails(services: Addresses, service: Service) -> None:
    with httpx.Client(timeout=60) as client:
        url = getattr(services, service)
        schema = client.get(url + "/openapi.json").json()
        sent = 0
        for method, path, headers, body in requests(schema):
            raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
            answer = client.request(method, url + path, headers=raw, content=body if method != "get" else None)
            request = f"{method} {path[:200]} {headers} {body[:40]!r}"
            assert answer.status_code < 500, f"{request}: {answer.status_code} {answer.text[:300]}"
            if answer.status_code >= 400:
                assert answer.headers.get("content-type") == "application/json", (
                    f"{request}: {answer} {answer.headers} {answer.text[:300]}"
                )
                assert isinstance(answer.json()["detail"], str), request
            sent += 1
        assert sent > 200


@pytest.mark.parametrize("service", ["trainer", "labeler"])
def test_the_service_keeps_to_its_schema(services: Addresses, service: Service) -> None:
    found = fuzz(service, getattr(services, service), examples=3, without=WITHOUT, thin=True)
    assert (found.failures, found.errors) == ({}, []), str(found)
    assert found.requests > 800
