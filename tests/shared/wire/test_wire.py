import pkgutil
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import import_module
from typing import get_args
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

import shared.wire
from shared.log import Fold
from shared.wire.fields import LARGEST, MAX_ROWS, Message, Reply
from shared.wire.log import Action, Annotation, AnnotationBatch, AnnotationPost, Row, Undo
from shared.wire.queries import MAX_QUERIES, Query, QueryPush, Suggestion

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ONE = UUID(int=1)
MODULES = [import_module(f"shared.wire.{found.name}") for found in pkgutil.iter_modules(shared.wire.__path__)]
WIRE_TYPES = [
    kind
    for module in MODULES
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, Message | Reply)
]

IDS = st.integers(1, 2**31)
PIXELS = st.floats(-1e6, 1e6).map(lambda each: round(each, 2))
ANSWERS = st.one_of(
    st.none(),
    st.lists(IDS, max_size=6, unique=True).map(lambda ids: {"yes": sorted(ids[::2]), "no": sorted(ids[1::2])}),
    st.lists(st.tuples(IDS, PIXELS, PIXELS, st.floats(1, 1e6)), max_size=4).map(
        lambda drawn: {
            "boxes": [{"label": k, "x": x, "y": y, "w": w, "h": 2.5, "origin": "drawn"} for k, x, y, w in drawn]
        }
    ),
)
"""What a person says, in a project of any task."""
ROWS = st.builds(
    Row,
    answer=ANSWERS,
    seq=st.integers(1, 2**53),
    id=st.uuids(),
    action=st.sampled_from(get_args(Action)),
    image_id=st.none() | st.integers(1, 2**53),
    label=st.none() | st.integers(1, 2**31),
    name=st.none() | st.text(max_size=20),
    annotator=st.text(max_size=20),
    seconds=st.none() | st.floats(0, 1e6),
    target=st.none() | st.uuids(),
    note=st.none() | st.text(max_size=50),
    created_at=st.datetimes(timezones=st.just(UTC)),
)


@given(st.lists(ROWS, max_size=5), st.uuids())
def test_a_batch_arrives_as_it_was_sent(rows: list[Row], log_id: UUID) -> None:
    batch = AnnotationBatch(log_id=log_id, after_seq=0, last_seq=9, annotations=rows, catalog_version=1)
    assert AnnotationBatch.model_validate_json(batch.model_dump_json()) == batch


def test_a_reader_of_answers_ignores_what_a_newer_peer_adds() -> None:
    row = Row.model_validate({"seq": 1, "id": ONE, "action": "skip", "created_at": NOW, "colour": "red"})
    assert "colour" not in row.model_dump()


@pytest.mark.parametrize("number", [-1, LARGEST + 1, 2**70])
@pytest.mark.parametrize(
    ("kind", "field"), [(Row, "image_id"), (Row, "label"), (Row, "into"), (Query, "image_id"), (Suggestion, "label")]
)
def test_an_id_that_nothing_can_hold_is_refused(kind: type[BaseModel], field: str, number: int) -> None:
    given = {"seq": 1, "id": ONE, "action": "label", "created_at": NOW} if kind is Row else {}
    with pytest.raises(ValidationError, match=rf"(?s){field}.*(greater|less) than or equal to"):
        kind.model_validate({**given, field: number})


def test_the_largest_id_passes_through_the_log() -> None:
    rows = [
        Row(seq=1, id=UUID(int=1), action="class_added", label=LARGEST, name="cat", created_at=NOW),
        Row(seq=2, id=UUID(int=2), action="label", image_id=LARGEST, label=LARGEST, annotator="ann", created_at=NOW),
    ]
    assert Fold(rows).labels == {LARGEST: LARGEST}


def test_a_misspelt_field_of_a_request_is_refused() -> None:
    with pytest.raises(ValidationError, match="anotator"):
        Undo.model_validate({"id": ONE, "annotator": "ann", "anotator": "ann"})


@pytest.mark.parametrize("kind", WIRE_TYPES, ids=lambda kind: kind.__name__)
def test_every_wire_type_says_what_it_is_and_what_becomes_of_unknown_fields(kind: type[BaseModel]) -> None:
    assert kind.__doc__
    assert kind.model_config.get("extra") in {"ignore", "forbid"}
    if issubclass(kind, Message):
        assert kind.model_config.get("extra") == "forbid"


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": "1"},
        {"image_id": "seven"},
        {"image_id": 1.5},
        {"action": "class_deleted"},
        {"annotator": ""},
        {"annotator": "a" * 201},
        {"seconds": -1},
        {"seconds": float("inf")},
        {"note": "n" * 5_001},
    ],
)
def test_an_impossible_answer_is_refused(wrong: dict[str, object]) -> None:
    answer = {"id": uuid4(), "image_id": 7, "action": "label", "label": "cat", "annotator": "ann", "seconds": 0.4}
    Annotation.model_validate(answer)
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Annotation.model_validate(answer | wrong)


def test_a_label_is_a_class_id_or_a_name_as_it_was_given() -> None:
    answer = {"id": ONE, "image_id": 7, "action": "label", "annotator": "ann"}
    assert Annotation.model_validate(answer | {"label": 3}).label == 3
    assert Annotation.model_validate(answer | {"label": "3"}).label == "3"


@pytest.mark.parametrize("score", [float("nan"), float("inf"), float("-inf")])
def test_a_score_that_json_cannot_carry_is_refused(score: float) -> None:
    with pytest.raises(ValidationError, match="score"):
        Query(image_id=1, score=score)


@pytest.mark.parametrize("confidence", [-0.01, 1.01, float("nan")])
def test_a_confidence_is_a_probability(confidence: float) -> None:
    with pytest.raises(ValidationError, match="confidence"):
        Suggestion(label=1, confidence=confidence)


def test_messages_have_a_size() -> None:
    answer = Annotation(id=ONE, image_id=7, action="skip", annotator="ann")
    AnnotationPost(annotations=[answer] * MAX_ROWS)
    with pytest.raises(ValidationError, match="annotations"):
        AnnotationPost(annotations=[answer] * (MAX_ROWS + 1))
    push = {"id": ONE, "log_id": ONE, "model_version": "m", "acked_seq": 0, "strategy": "margin"}
    QueryPush.model_validate(push | {"queries": [Query(image_id=1)] * MAX_QUERIES})
    with pytest.raises(ValidationError, match="queries"):
        QueryPush.model_validate(push | {"queries": [Query(image_id=1)] * (MAX_QUERIES + 1)})


def _messages(kind: type[Message]) -> Iterator[type[Message]]:
    for each in kind.__subclasses__():
        yield each
        yield from _messages(each)


SAMPLES: dict[str, object] = {"uuid": str(uuid4()), "date-time": "2026-01-02T03:04:05Z"}


def _formatted() -> Iterator[tuple[type[Message], str, str]]:
    """Each message with a field that is an id or a time: the field and its format."""
    for kind in sorted({*_messages(Message)}, key=str):
        for name, schema in kind.model_json_schema()["properties"].items():
            for form in {part.get("format") for part in schema.get("anyOf", [schema])} & SAMPLES.keys():
                yield kind, name, form


def _refused(kind: type[Message], given: dict[str, object]) -> set[object]:
    """The fields that it complains of."""
    with pytest.raises(ValidationError) as raised:
        kind.model_validate(given | {"no such field": 1})
    return {error["loc"][0] for error in raised.value.errors() if error["type"] != "missing"}


@pytest.mark.parametrize(("kind", "field", "form"), list(_formatted()))
def test_ids_and_times_come_as_text(kind: type[Message], field: str, form: str) -> None:
    assert _refused(kind, {field: SAMPLES[form]}) == {"no such field"}
    assert _refused(kind, {field: 7}) == {"no such field", field}


def test_there_are_ids_and_times_to_try() -> None:
    assert {form for _, _, form in _formatted()} == SAMPLES.keys()


@pytest.mark.parametrize("value", [True, "3", 3.5, -1, LARGEST + 1, None, [], {}])
def test_an_id_is_a_whole_number(value: object) -> None:
    with pytest.raises(ValidationError, match="image_id"):
        Query.model_validate({"image_id": value})
    assert Query.model_validate({"image_id": LARGEST}).image_id == LARGEST
