"""How a service reads JSON and refuses, with an application that has nothing to do with labels."""

import logging
from functools import reduce
from typing import Annotated, Any

import pytest
from fastapi import Body, FastAPI
from starlette.testclient import TestClient

from shared.web.answers import PlainText, keep_to_schema, refusals, refuse, refused, strict_json
from tests.standing import refusals_by_route, refusals_by_schema


class InUseError(Exception):
    pass


@pytest.fixture
def api() -> FastAPI:
    api = FastAPI()
    keep_to_schema(api)

    @api.get("/things/{thing}", responses=refusals(409))
    def look(thing: int) -> int:
        return thing

    @api.delete("/things/{thing}")
    def drop(thing: int) -> int:
        raise InUseError

    @api.post("/things")
    def add(said: Annotated[dict[str, Any], Body()]) -> dict[str, Any]:
        return said

    @api.post("/things/first")
    def first() -> None: ...

    return api


@pytest.fixture
def client(api: FastAPI) -> TestClient:
    return TestClient(PlainText(api))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b'{"a": [1.0, 2.5, 1e3, -0.0, 1e300]}', {"a": [1, 2.5, 1_000, 0, 1e300]}),
        (b'"\\ud83d\\ude00"', "😀"),
        (b'"\\\\u0000"', "\\u0000"),
        (b"[" * 150 + b"]" * 150, reduce(lambda inner, _: [inner], range(149), list[Any]())),
    ],
    ids=["numbers", "pair", "backslash", "nested"],
)
def test_json_is_parsed(text: bytes, said: object) -> None:
    assert strict_json(text) == said


def test_a_whole_number_is_an_int() -> None:
    assert [type(each) for each in strict_json(b"[1.0, 2e2, 3, 0.5]")] == [int, int, int, float]


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 4_000,
        b'"\\ud800"',
        b'{"\\udfff": 1}',
        b'["\\u0000"]',
        b'{"\\u0000": 1}',
        b"NaN",
        b"[Infinity]",
        b"\xff",
        b"",
    ],
)
def test_values_that_nothing_can_store_are_refused(client: TestClient, text: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        strict_json(text)
    answer = client.post("/things", content=text, headers={"content-type": "application/json"})
    assert (answer.status_code, list(answer.json())) == (422, ["detail"])


def test_an_address_or_form_that_no_text_can_be(client: TestClient) -> None:
    assert client.get("/things/1%0a").status_code == client.get("/..%2fthings").status_code == 404
    assert client.get("/things/1?a=%00").status_code == 400
    odd = client.post("/things", content=b"{}", headers={"content-type": "multipart/form-data; charset=punycode"})
    assert odd.json() == {"detail": "Send the body as UTF-8, not as punycode."}


def test_405_names_all_that_may_be_done(client: TestClient) -> None:
    answer = client.put("/things/3")
    assert (answer.status_code, answer.headers["allow"]) == (405, "DELETE, GET")
    assert answer.json()["detail"] == "PUT is not possible at this address, only DELETE, GET."
    assert client.put("/things/first").headers["allow"] == "POST"
    assert client.get("/nowhere").json() == {"detail": "There is nothing at this address."}


def test_the_schema_names_every_refusal(api: FastAPI) -> None:
    schema = api.openapi()
    look, add = schema["paths"]["/things/{thing}"]["get"], schema["paths"]["/things"]["post"]
    assert {"200", "400", "401", "404", "409", "422", "507"} <= look["responses"].keys()
    assert "409" not in add["responses"] and "413" in add["responses"]  # noqa: PT018
    assert add["responses"]["422"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Refusal"}
    assert set(schema["components"]["schemas"]) == {"Refusal"}
    assert refusals_by_route(api) == refusals_by_schema(api)


def test_a_refusal_that_the_schema_does_not_name_is_logged(api: FastAPI) -> None:
    heard: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: heard.append(record.getMessage())  # type: ignore[method-assign]
    silenced = logging.getLogger("shared.web.answers")
    others, silenced.handlers = silenced.handlers, [handler]  # the handler of all tests would fail this one

    @api.exception_handler(InUseError)
    async def answer(request: Any, _: Exception) -> Any:
        return refused(request, 409, "It is in use.")

    try:
        assert TestClient(api).delete("/things/3").json() == {"detail": "It is in use."}
    finally:
        silenced.handlers = others
    assert heard == ["DELETE /things/{thing} answers 409, which its schema does not name"]
    assert refuse(404, "No.", more=1).body == b'{"detail":"No.","more":1}'
