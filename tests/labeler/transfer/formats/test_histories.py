"""For every kind of answer: an export with the history, imported into a new project, gives the same answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from labeler.service import Service
from labeler.transfer.rows.exported import extras_named
from labeler.transfer.sources import open_source
from shared.wire.imports import ImportIssue, ImportPost, ImportReceipt, ImportRow
from shared.wire.log import Undo
from tests.labeler.projects import answer, labeler, photo
from tests.labeler.tasks import SAID, every_task

FILES = {"csv": "csv", "jsonl": "jsonl", "parquet": "parquet", "coco": "json", "label_studio": "json"}
NAMES = ["=1+1.png", "a b.png", "sub/ü%20.png", "c;d.png"]
CLASSES = ["@cat", "dog, big"]
PEOPLE = ["ann", "bob", "-cem"]
ANSWERS = st.lists(
    st.tuples(
        st.integers(1, len(NAMES)),
        st.sampled_from(["label", "label", "label", "settle", "skip", "flag", "undo"]),
        st.integers(0, 3),
        st.sampled_from(PEOPLE),
    ),
    max_size=10,
)
SPLITS = st.dictionaries(st.integers(1, len(NAMES)), st.sampled_from(["train", "validation", "test"]))


def start(tmp: Path, task: str) -> Any:
    for shade, name in enumerate(NAMES):
        photo(tmp / "photos" / name, shade)
    return labeler(tmp, task=task, classes=CLASSES, overlap=3)


def say(service: Service, task: str, image: int, action: str, number: int, who: str) -> None:
    if action == "undo":
        if service.log.last_step(who)[0]:
            service.undo(Undo(id=uuid4(), annotator=who))
    elif action in ("label", "settle"):
        service.annotate([SAID[task](image, number, action=action, annotator=who)])
    else:
        service.annotate([answer(image, None, action=action, annotator=who)])


def everything(service: Service) -> dict[str, Any]:
    """Who says what of each image, what follows, and its split, by name."""
    fold = service.log.fold
    return {
        entry.uri: (sorted(fold.answers(entry.id).items()), *_followed(service, entry.id), entry.split)
        for entry in service.catalog.entries(0, 1_000)
    }


def _followed(service: Service, image: int) -> tuple[Any, ...]:
    state = service.log.fold.state(image)
    return state.label, state.status, state.settled, state.disputed


def export(service: Service, name: str, path: Path) -> Path:
    extras = extras_named(["annotators", "history"])
    path.write_bytes(b"".join(service.exports.begin(name, extras=extras)[0]))
    return path


def bring(service: Service, path: Path, task: str) -> ImportReceipt:
    rows = list(open_source(path, task=task).rows())
    assert not [row for row in rows if isinstance(row, ImportIssue)]
    return service.imports.take(ImportPost(rows=[row for row in rows if isinstance(row, ImportRow)]))


@every_task
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(name=st.sampled_from(sorted(FILES)), answers=ANSWERS, splits=SPLITS)
@example(name="label_studio", answers=[(1, "label", 0, "ann")], splits={})  # nothing is in the image
def test_every_answer_comes_back_with_its_history(
    tmp_path_factory: pytest.TempPathFactory,
    task: str,
    name: str,
    answers: list[tuple[int, str, int, str]],
    splits: dict[int, Any],
) -> None:
    tmp = tmp_path_factory.mktemp(name)
    with start(tmp / "one", task) as service:
        for image, split in splits.items():
            service.catalog.move([image], split)
        for image, action, number, who in answers:
            say(service, task, image, action, number, who)
        before, end = everything(service), service.log.last_seq
        path = export(service, name, tmp / f"labels.{FILES[name]}")
        bring(service, path, task)
        assert (service.log.last_seq, everything(service)) == (end, before), "it was here already"
    with start(tmp / "two", task) as service:
        receipt = bring(service, path, task)
        assert (receipt.rejected, receipt.conflicts, receipt.cells) == ([], [], [])
        assert everything(service) == before
        again = export(service, name, tmp / f"again.{FILES[name]}")
        assert bring(service, again, task).labels == 0
        assert everything(service) == before
