"""An export that is imported again gives the same labels: in a new workspace, and in the one it came from."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labeler.errors import Conflict, Invalid
from labeler.service import Service
from labeler.transfer.rows.exported import Wanted, extras_named
from labeler.transfer.sources import open_source
from shared.settings.services import SettingsError
from shared.wire.imports import ImportIssue, ImportPost, ImportReceipt, ImportRow
from shared.wire.log import Undo
from tests.labeler.followers import following
from tests.labeler.projects import answer, labeler, photo, photos
from tests.services import wait_for

FILES = {"csv": "csv", "jsonl": "jsonl", "parquet": "parquet", "coco": "json", "label_studio": "json"}
NAMES = ["=1+1.png", "a b.png", "sub/ü%20.png", "c;d.png", "e,f.png"]
CLASSES = ["@cat", "dog, big", "7"]
ANSWERS = st.lists(
    st.tuples(
        st.integers(1, len(NAMES)),
        st.sampled_from(["label", "label", "label", "skip", "flag", "settle", "remove", "undo"]),
        st.sampled_from(CLASSES),
        st.sampled_from(["ann", "bob", "-cem"]),
    ),
    max_size=12,
)
SPLITS = st.dictionaries(st.integers(1, len(NAMES)), st.sampled_from(["train", "validation", "test"]))
slow = settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def start(tmp: Path) -> Any:
    for shade, name in enumerate(NAMES):
        photo(tmp / "photos" / name, shade)
    return labeler(tmp, classes=CLASSES, overlap=3)


def export(service: Service, name: str, path: Path, **more: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(service.exports.begin(name, **more)[0]))
    return path


def bring(service: Service, path: Path) -> ImportReceipt:
    rows = list(open_source(path).rows())
    assert not [row for row in rows if isinstance(row, ImportIssue)]
    return service.imports.take(ImportPost(rows=[row for row in rows if isinstance(row, ImportRow)], add_classes=True))


def state(service: Service, *statuses: str) -> dict[str, tuple[str | None, str, str]]:
    """Content hash → label, split and status, of the images that were answered."""
    rows = [json.loads(line) for line in b"".join(service.exports.begin("jsonl")[0]).splitlines()]
    wanted = statuses or ("labeled", "skipped", "flagged")
    return {row["sha256"]: (row["label"], row["split"], row["status"]) for row in rows if row["status"] in wanted}


def everything(service: Service) -> dict[str, Any]:
    """Who says what of which image and since when, what follows, and the splits."""
    fold, classes = service.log.fold, service.classes
    told = [
        json.loads(line)
        for line in b"".join(
            service.exports.begin("jsonl", extras=extras_named(["annotators", "history"]))[0]
        ).splitlines()
    ]
    entries = service.catalog.entries(0, 1_000)
    said = [(entry.uri, who, *given) for entry in entries for who, given in sorted(fold.answers(entry.id).items())]
    return {
        "votes": [
            {"uri": uri, "who": who, "action": action, "label": label and classes.name(label)}
            for uri, who, action, label in said
        ],
        "states": {
            entry.uri: (state.label and classes.name(state.label), state.status, state.settled, state.disputed)
            for entry in entries
            if (state := fold.state(entry.id))
        },
        "splits": {entry.uri: entry.split for entry in entries},
        "labeled at": {row["uri"]: row["labeled_at"] for row in told},
        "history": {
            row["uri"]: [
                {name: value for name, value in each.items() if name != "source"}
                for each in row["history"]
                if each["counts"]
            ]
            for row in told
        },
    }


def say(service: Service, image: int, action: str, label: str, who: str) -> None:
    if action == "undo":
        if service.log.last_step(who)[0]:
            service.undo(Undo(id=uuid4(), annotator=who))
        return
    if action == "remove" and service.tally.splits[image] != "train":
        return  # what measures is not reviewed
    if action == "remove":
        verdict = answer(image, None, action="settle", annotator=who, source="review", reason="remove")
        service.annotate([verdict])
    else:
        given_label = label if action in ("label", "settle") else None
        service.annotate([answer(image, given_label, action=action, annotator=who)])


@pytest.mark.parametrize("name", FILES)
@slow
@given(answers=ANSWERS, splits=SPLITS)
def test_labels_and_splits_come_back(
    tmp_path_factory: pytest.TempPathFactory, name: str, answers: list[Any], splits: dict[int, Any]
) -> None:
    tmp = tmp_path_factory.mktemp(name)
    with start(tmp / "one") as service:
        for image, split in splits.items():
            service.catalog.move([image], split)
        for image, action, label, who in answers:
            say(service, image, action, label, who)
        before = state(service)
        path = export(service, name, tmp / f"labels.{FILES[name]}")
        bring(service, path)
        assert state(service) == before
    with start(tmp / "two") as service:
        assert not bring(service, path).rejected
        assert state(service) == before
        assert bring(service, path).labels == 0


@slow
@given(name=st.sampled_from(sorted(FILES)), answers=ANSWERS, splits=SPLITS)
def test_every_answer_comes_back_with_its_history(
    tmp_path_factory: pytest.TempPathFactory, name: str, answers: list[Any], splits: dict[int, Any]
) -> None:
    tmp = tmp_path_factory.mktemp(name)
    extras = extras_named(["annotators", "history"])
    with start(tmp / "one") as service:
        for image, split in splits.items():
            service.catalog.move([image], split)
        for image, action, label, who in answers:
            say(service, image, action, label, who)
        before, end = everything(service), service.log.last_seq
        path = export(service, name, tmp / f"labels.{FILES[name]}", extras=extras)
        bring(service, path)
        assert service.log.last_seq == end
    with start(tmp / "two") as service:
        receipt = bring(service, path)
        assert (receipt.rejected, receipt.conflicts) == ([], [])
        assert everything(service) == before
        assert bring(service, path).labels == 0
        again = export(service, name, tmp / f"again.{FILES[name]}", extras=extras)
        assert bring(service, again).labels == 0


def test_times_come_back_without_a_history_too(tmp_path: Path) -> None:
    with start(tmp_path / "one") as service:
        service.annotate([answer(1, "7"), answer(2, None, action="skip"), answer(3, "@cat")])
        times = everything(service)["labeled at"]
        paths = [export(service, name, tmp_path / f"{name}.{FILES[name]}") for name in FILES]
        zips = {name: export(service, name, tmp_path / f"{name}.zip") for name in ("datasets", "fiftyone")}
    for path in paths:
        with start(tmp_path / path.stem) as service:
            bring(service, path)
            assert everything(service)["labeled at"] == times
    for name, zipped in zips.items():
        with zipfile.ZipFile(zipped) as archive:
            archive.extractall(tmp_path / name / "photos")
        with labeler(tmp_path / name, classes=CLASSES) as service:
            bring(service, tmp_path / name / "photos")
            told = everything(service)["labeled at"].values()
            assert sorted(filter(None, told)) == sorted(filter(None, times.values()))


def test_a_label_that_was_changed_in_the_table_counts_and_not_its_history(tmp_path: Path) -> None:
    with start(tmp_path / "one") as service:
        service.annotate([answer(1, "7"), answer(2, "7"), answer(2, "@cat", annotator="bob")])
        path = export(service, "csv", tmp_path / "labels.csv", extras=extras_named(["annotators", "history"]))
        path.write_text(path.read_text().replace(",train,7,", ',train,"dog, big",'))
    with start(tmp_path / "two") as service:
        bring(service, path)
        assert [(said["label"], said["who"]) for said in everything(service)["votes"]] == [
            ("dog, big", "ann"),
            ("7", "ann"),
            ("@cat", "bob"),
        ]


def test_later_answers_here_stay(tmp_path: Path) -> None:
    with start(tmp_path) as service:
        service.annotate([answer(1, "7"), answer(1, "@cat", annotator="bob"), answer(2, "7")])
        service.annotate([answer(2, "@cat", action="settle", annotator="bob")])
        path = export(service, "jsonl", tmp_path / "labels.jsonl", extras=extras_named(["annotators", "history"]))
        service.annotate([answer(1, "@cat"), answer(2, "7", action="settle", annotator="cem")])
        before = everything(service)
        receipt = bring(service, path)
        assert [issue.reason.split(":")[0] for issue in receipt.conflicts] == [
            "already has another answer by ann",
            "already has another answer by bob",
        ]
        assert (receipt.labels, everything(service)) == (0, before)


@pytest.mark.parametrize(
    ("name", "held"),
    [
        ("datasets", ["labeled", "skipped", "flagged"]),
        ("imagefolder", ["labeled"]),
        ("yolo", ["labeled"]),
        ("fiftyone", ["labeled", "skipped", "flagged"]),
    ],
)
def test_zips_come_back_as_folders(tmp_path: Path, name: str, held: list[str]) -> None:
    with start(tmp_path / "one") as service:
        service.catalog.move([2], "test")
        service.annotate([answer(1, "@cat"), answer(2, "dog, big"), answer(3, "7")])
        service.annotate([answer(4, None, action="skip"), answer(5, None, action="flag")])
        before = state(service, *held)
        with zipfile.ZipFile(export(service, name, tmp_path / "labels.zip")) as archive:
            archive.extractall(tmp_path / "two" / "photos")
    with labeler(tmp_path / "two", classes=CLASSES) as service:
        bring(service, tmp_path / "two" / "photos")
        assert state(service) == before


def test_an_export_contains_what_is_asked_for_and_nothing_else(tmp_path: Path) -> None:
    with start(tmp_path) as service:
        service.catalog.move([2, 3], "test")
        service.annotate([answer(1, "7"), answer(2, "7", annotator="bob"), answer(3, "@cat"), answer(4, "7")])

        def ids(**wanted: Any) -> list[int]:
            stream, _ = service.exports.begin("jsonl", wanted=Wanted(**wanted))
            return [json.loads(line)["id"] for line in b"".join(stream).splitlines()]

        assert ids(split="test") == [2, 3]
        assert ids(label="7") == [1, 2, 4]
        assert ids(split="test", label="7", annotator="bob") == [2]
        assert ids(status="unlabeled") == [5]
        assert ids(annotator="nobody") == []


def test_with_and_without_people_and_history(tmp_path: Path) -> None:
    with start(tmp_path) as service:
        service.annotate([answer(1, "7", note="=why?"), answer(1, "@cat")])

        def first(name: str, *names: str) -> Any:
            data = b"".join(service.exports.begin(name, extras=extras_named(names))[0])
            if name == "parquet":
                return pq.read_table(io.BytesIO(data)).to_pylist()[0]
            return (
                json.loads(data.splitlines()[0])
                if name == "jsonl"
                else next(csv.DictReader(io.StringIO(data.decode())))
            )

        for name in ("csv", "jsonl", "parquet"):
            plain, full = first(name), first(name, "history", "annotators")
            assert "annotators" not in plain
            assert "ann" not in json.dumps(first(name, "history"), default=str).split("action")[1]
            history = full["history"] if name == "jsonl" else json.loads(full["history"])
            assert [(each["label"], each["annotator"]) for each in history] == [("7", "ann"), ("@cat", "ann")]
            assert history[0]["note"] == "=why?"
        with pytest.raises(Invalid, match="annotators, predictions, history"):
            extras_named(["everything"])


def test_predictions_are_told_of_train_images_alone(tmp_path: Path) -> None:
    for shade, name in enumerate(NAMES):
        photo(tmp_path / "photos" / name, shade)
    with following() as (follower, url), labeler(tmp_path, trainer_url=url, trainer_poll_seconds=0.05) as service:
        service.catalog.move([2], "test")
        follower.said = {1: (1, 0.9), 2: (2, 0.8)}
        wait_for(lambda: (status := service.trainer.status()) and status.log_id)
        with pytest.raises(Conflict):
            service.exports.begin("csv", extras=extras_named(["predictions"]))
        follower.model_version = "m1"
        wait_for(lambda: (status := service.trainer.status()) and status.model_version)
        rows = list(
            csv.DictReader(
                io.StringIO(b"".join(service.exports.begin("csv", extras=extras_named(["predictions"]))[0]).decode())
            )
        )
        assert [row["prediction"] for row in rows] == ["cat", "", "", "", ""]
        assert rows[0]["prediction_confidence"] == "0.9"
        (task, *_) = json.loads(
            b"".join(service.exports.begin("label_studio", extras=extras_named(["predictions"]))[0])
        )
        assert task["predictions"][0]["score"] == 0.9


def test_a_file_that_is_not_coco_is_reported(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"images": []}')
    with pytest.raises(Exception, match="not COCO"):
        list(open_source(tmp_path / "a.json").rows())


@pytest.mark.parametrize("name", ["imagefolder", "yolo", "datasets", "fiftyone"])
def test_an_export_unpacked_beside_the_photos_is_no_class(tmp_path: Path, name: str) -> None:
    photos(tmp_path / "photos", 3)
    with labeler(tmp_path) as service:
        service.annotate([answer(1, "cat"), answer(2, "dog")])
        inside = tmp_path / "photos" / "from export"
        zipfile.ZipFile(io.BytesIO(b"".join(service.exports.begin(name)[0]))).extractall(inside)
        for beside in ("photos", "sub"):  # photos of no class, and a folder of a class
            with pytest.raises(SettingsError, match=r"from export is a dataset of its own|from export has folders of"):
                open_source(tmp_path / "photos")
            photo(tmp_path / "photos" / beside / "9.png", 9)
        assert {row.label for row in open_source(inside).rows() if isinstance(row, ImportRow)} == {"cat", "dog"}
        assert "from export" in {row.label for row in open_source(tmp_path / "photos", layout="class").rows()}


def test_folders_are_imported_beside_a_circular_link_and_a_closed_folder(tmp_path: Path) -> None:
    photo(tmp_path / "cat" / "1.png", 1)
    photo(tmp_path / "dog" / "2.png", 2)
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "closed").mkdir(mode=0)
    read = list(open_source(tmp_path).rows())
    assert [row.label for row in read if isinstance(row, ImportRow)] == ["cat", "dog"]
    assert "loop" in [row.uri for row in read if isinstance(row, ImportIssue)]
