"""Labels of several classes per image, from and to files: round trips, other tools' files, and what absence means."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import datasets
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labeler.errors import Invalid
from labeler.service import Service
from labeler.transfer.formats import FORMATS
from labeler.transfer.rows.exported import extras_named
from labeler.transfer.rows.imported import Chosen
from labeler.transfer.sources import open_source
from shared.importing import Outcome, take_rows
from shared.settings.services import SettingsError
from shared.tasks.multilabel import Classes, cell_of, names_in_cell
from shared.wire.imports import ImportPost, ImportRow
from tests.labeler.projects import answer, classes, labeler, photos

AWKWARD = 'a;b\\, "c"'
Told = dict[int, tuple[set[str], set[str]]]


@contextmanager
def project(folder: Path, *names: str, **values: Any) -> Iterator[Service]:
    """A multi-label project of six photos."""
    if not (folder / "photos").exists():
        photos(folder / "photos", 6)
    with labeler(folder, task="multilabel", classes=list(names), **values) as service:
        yield service


def told(service: Service) -> Told:
    """Image → names of the classes with a yes, and of those with a no."""
    name = service.log.fold.name_of
    labels: dict[int, Classes] = service.log.fold.labels
    return {image: ({*map(name, each.yes)}, {*map(name, each.no)}) for image, each in sorted(labels.items())}


def brought(service: Service, path: Path, *, columns: str = "", **choices: Any) -> Outcome:
    """Import a file, after a dry run that must say the same."""
    source = open_source(path, Chosen.of(columns) if columns else None, task="multilabel")
    folder, take = source.folder, service.imports.take
    every = source.vocabulary()
    looked = take_rows(source.rows(), folder, take, dry_run=True, vocabulary=every, **choices)
    before = service.log.last_seq
    assert (service.log.last_seq, told(service)) == (before, told(service))
    done = take_rows(source.rows(), folder, take, vocabulary=every, **choices)
    assert done == looked, "the dry run says what the import does"
    end = told(service), service.log.last_seq
    again = take_rows(source.rows(), folder, take, vocabulary=every, **choices)
    assert (again.counts["labels"], told(service), service.log.last_seq) == (0, *end), "again changes nothing"
    return done


def written(service: Service, name: str, folder: Path, *extras: str) -> Path:
    """The export as a file, or as an unpacked folder."""
    stream, found = service.exports.begin(name, extras=extras_named(["annotators", *extras]))
    data = b"".join(stream)
    if found.suffix != "zip":
        path = folder / f"{name}.{found.suffix}"
        path.write_bytes(data)
        return path
    zipfile.ZipFile(io.BytesIO(data)).extractall(folder / name)
    return folder / name


SAID = [
    classes(1, ["cat"], ["dog", AWKWARD]),
    classes(2, [], ["cat", "dog", AWKWARD]),
    classes(3, ["cat", AWKWARD], ["dog"]),
    classes(4, ["dog"], ["cat"]),  # the awkward class is unknown
    answer(5, None, action="skip"),
]
KEPT: Told = {
    1: ({"cat"}, {"dog", AWKWARD}),
    2: (set(), {"cat", "dog", AWKWARD}),
    3: ({"cat", AWKWARD}, {"dog"}),
    4: ({"dog"}, {"cat"}),
}


@pytest.fixture(scope="module")
def labeled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with project(tmp_path_factory.mktemp("labeled"), "cat", "dog", AWKWARD) as service:
        service.annotate(SAID)
        assert told(service) == KEPT
        yield service


@pytest.mark.parametrize("extras", [(), ("history",)])
@pytest.mark.parametrize("name", sorted(set(FORMATS) - {"imagefolder", "yolo"}))
def test_every_format_gives_back_yes_no_and_unknown(
    labeled: Service, tmp_path: Path, name: str, extras: tuple[str, ...]
) -> None:
    path = written(labeled, name, tmp_path, *extras)
    with project(tmp_path / "other", **({"images": str(path)} if path.is_dir() else {})) as other:
        done = brought(other, path)
        assert (told(other), done.counts["rejected"], done.counts["conflict"]) == (KEPT, 0, 0)
        skipped = other.log.fold.state(5).status
        assert skipped == ("unlabeled" if name == "cvat" else "skipped")


@pytest.mark.parametrize("name", ["imagefolder", "yolo"])
def test_a_format_with_a_folder_per_class_says_why_it_cannot(labeled: Service, name: str) -> None:
    with pytest.raises(Invalid, match=r"a folder per class, and an image .* several classes.*format datasets"):
        labeled.exports.begin(name)


def test_a_table_with_a_column_per_class_holds_1_0_or_nothing(labeled: Service, tmp_path: Path) -> None:
    with written(labeled, "onehot", tmp_path).open(newline="", encoding="utf-8") as stream:
        rows = {row["uri"]: (row["cat"], row["dog"], row[AWKWARD]) for row in csv.DictReader(stream)}
    assert rows == {
        "0000.png": ("1", "0", "0"), "0001.png": ("0", "0", "0"), "0002.png": ("1", "0", "1"),
        "0003.png": ("0", "1", ""), "0004.png": ("", "", ""), "0005.png": ("", "", ""),
    }  # fmt: skip


def test_a_class_that_is_called_like_a_column_comes_back(tmp_path: Path) -> None:
    names = ["label", "status", "Split", "id", "class:x", "=1+1"]
    with project(tmp_path / "one", *names) as service:
        service.annotate([classes(1, names[:3], names[3:]), classes(2, names[3:], names[:3])])
        path, said = written(service, "onehot", tmp_path), told(service)
    with project(tmp_path / "two") as other:
        brought(other, path)
        assert told(other) == said


def test_hugging_face_reads_the_lists(labeled: Service, tmp_path: Path) -> None:
    path = written(labeled, "parquet", tmp_path)
    rows = datasets.Dataset.from_parquet(str(path), cache_dir=str(tmp_path / "cache"))
    assert [row["label"] for row in rows] == [["cat"], [], ["cat", AWKWARD], ["dog"], None, None]


def test_other_answers_of_several_people_come_back(tmp_path: Path) -> None:
    with project(tmp_path / "one", "cat", "dog", overlap=2) as service:
        service.annotate([classes(1, ["cat"], ["dog"]), classes(1, ["cat", "dog"], annotator="bob")])
        service.annotate([classes(2, ["cat"], ["dog"], annotator=who) for who in ("ann", "bob")])
        service.annotate([classes(1, ["dog"], ["cat"], action="settle", annotator="eve")])
        path = written(service, "jsonl", tmp_path, "history")
    with project(tmp_path / "two", "cat", "dog", overlap=2) as other:
        brought(other, path)
        assert other.log.fold.votes(1).keys() == {"ann", "bob"}
        assert other.log.fold.state(1).settled
        assert told(other) == {1: ({"dog"}, {"cat"}), 2: ({"cat"}, {"dog"})}


# ---------------------------------------------------------------- other tools' files

LISTS = {
    "labels.csv": "file,labels\n0000.png,cat;dog\n0001.png,\n0002.png,dog; hen ;dog\n0003.png,hen\n",
    "labels.jsonl": "".join(
        json.dumps({"file_name": name, "labels": given}) + "\n"
        for name, given in (
            ("0000.png", ["cat", "dog"]), ("0001.png", None), ("0002.png", ["dog", "hen"]), ("0003.png", "hen")
        )
    ),
    "coco.json": json.dumps(
        {
            "images": [{"id": n, "file_name": f"000{n}.png"} for n in range(4)],
            "annotations": [
                {"id": n, "image_id": image, "category_id": category}
                for n, (image, category) in enumerate([(0, 7), (0, 8), (0, 7), (2, 8), (2, 9), (3, 9)])
            ],
            "categories": [{"id": 7, "name": "cat"}, {"id": 8, "name": "dog"}, {"id": 9, "name": "hen"}],
        }
    ),
    "studio.json": json.dumps(
        [
            {"data": {"image": f"000{n}.png"}, "annotations": [{"result": [
                {"from_name": "tags", "type": "choices", "value": {"choices": names}}] if names else []}]}
            for n, names in enumerate([["cat", "dog"], [], ["dog", "hen"], ["hen"]])
        ]
    ),
    "min.json": json.dumps(
        [
            {"image": "0000.png", "choice": {"choices": ["cat", "dog"]}}, {"image": "0001.png"},
            {"image": "0002.png", "choice": {"choices": ["dog", "hen"]}}, {"image": "0003.png", "choice": "hen"},
        ]
    ),
    "cvat.xml": "<annotations>" + "".join(
        f'<image id="{n}" name="000{n}.png">' + "".join(f'<tag label="{name}"/>' for name in names) + "</image>"
        for n, names in enumerate([["cat", "dog"], [], ["dog", "hen"], ["hen"]])
    ) + "</annotations>",
}  # fmt: skip


@pytest.mark.parametrize("name", LISTS)
def test_a_list_says_no_to_the_other_classes_of_its_file_and_nothing_about_those_of_the_project(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_text(LISTS[name], encoding="utf-8")
    with project(tmp_path, "cat", "owl") as service:
        done = brought(service, tmp_path / name, add_classes=True)
        assert told(service) == {
            1: ({"cat", "dog"}, {"hen"}), 3: ({"dog", "hen"}, {"cat"}), 4: ({"hen"}, {"cat", "dog"})
        }  # fmt: skip
        assert (done.counts["labels"], done.new_classes) == (3, {"dog": 2, "hen": 2})
    source = open_source(tmp_path / name, task="multilabel")
    source.vocabulary()
    assert source.told()[-1] == (
        "3 lists of classes: a class of the file (cat, dog, hen) that is not in the list of an image is a no"
    )


def test_an_empty_list_is_none_of_these_and_null_is_nothing(tmp_path: Path) -> None:
    rows = [
        {"file": "0000.png", "label": []},
        {"file": "0001.png", "label": None},
        {"file": "0002.png", "label": ["cat"]},
    ]
    (tmp_path / "labels.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    with project(tmp_path, "cat") as service:
        brought(service, tmp_path / "labels.jsonl")
        assert told(service) == {1: (set(), {"cat"}), 3: ({"cat"}, set())}


def test_columns_of_1_and_0_are_classes_and_an_odd_cell_is_reported(tmp_path: Path) -> None:
    table = "Image,split,cat,Dog,note\n0000.png,train,1,0,x\n0001.png,,TRUE,,y\n0002.png,train,,-1,z\n0003.png,,0,0,\n"
    (tmp_path / "labels.csv").write_text(table, encoding="utf-8")
    source = open_source(tmp_path / "labels.csv", task="multilabel")
    with project(tmp_path, "cat") as service:
        done = take_rows(source.rows(), source.folder, service.imports.take, add_classes=True)
        assert told(service) == {1: ({"cat"}, {"Dog"}), 2: ({"cat"}, set()), 4: (set(), {"cat", "Dog"})}
    assert "a class per column, 1 for yes, 0 for no, empty for unknown: cat, Dog" in source.told()[0]
    assert [issue.reason for issue in done.issues["cell"]] == [
        "has '-1' for the class Dog, which is not 1, 0 or empty: it is unknown"
    ]
    with pytest.raises(SettingsError, match="does not say which columns"):
        open_source(tmp_path / "labels.csv")


def test_lists_of_class_labels_are_read_by_name(tmp_path: Path) -> None:
    features = datasets.Features(
        {"file": datasets.Value("string"), "tags": datasets.Sequence(datasets.ClassLabel(names=["cat", "dog"]))}
    )
    rows = {"file": ["0000.png", "0001.png", "0002.png"], "tags": [[0, 1], [], [1]]}
    datasets.Dataset.from_dict(rows, features).to_parquet(str(tmp_path / "data.parquet"))
    with project(tmp_path) as service:
        brought(service, tmp_path / "data.parquet")
        assert told(service) == {1: ({"cat", "dog"}, set()), 2: (set(), {"cat", "dog"}), 3: ({"dog"}, {"cat"})}


def test_a_folder_says_yes_to_its_class_and_the_same_photo_may_be_in_several(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 6)
    for name, numbers in (("cat", (0, 1)), ("dog", (1, 2))):
        (tmp_path / "set" / name).mkdir(parents=True)
        for number in numbers:
            file = f"{number:04d}.png"
            (tmp_path / "set" / name / file).write_bytes((tmp_path / "photos" / file).read_bytes())
    with project(tmp_path, images=str(tmp_path)) as service:
        done = brought(service, tmp_path / "set")
        assert done.counts["conflict"] == 0
        said = sorted(told(service).values(), key=lambda both: sorted(both[0]))
        assert said == [({"cat"}, set()), ({"cat", "dog"}, set()), ({"dog"}, set())]


# ---------------------------------------------------------------- against what is there


def row(uri: str, yes: list[str], no: list[str], **values: Any) -> ImportRow:
    content = {"line": 1, "uri": uri, "answer": {"yes": yes, "no": no}} | values
    return ImportRow.model_validate_json(json.dumps(content))


@pytest.mark.parametrize(
    ("policy", "ends"),
    [
        ("keep", ({"cat"}, {"dog"})),
        ("overwrite", ({"dog"}, {"cat"})),
        ("review", (set(), set())),
    ],
)
def test_a_row_that_contradicts_an_answer_follows_the_rule_and_one_that_adds_is_no_conflict(
    tmp_path: Path, policy: Any, ends: tuple[set[str], set[str]]
) -> None:
    with project(tmp_path, "cat", "dog", "hen") as service:
        service.annotate([classes(1, ["cat"], ["dog"]), classes(2, ["cat"])])
        rows = [row("0000.png", ["dog"], ["cat"]), row("0001.png", ["hen"], ["dog"])]
        receipts = [service.imports.take(ImportPost(rows=rows, conflicts=policy, dry_run=dry)) for dry in (True, False)]
        assert receipts[0] == receipts[1]
        assert len(receipts[1].conflicts) == 1
        assert "is labeled" in receipts[1].conflicts[0].reason or "was labeled" in receipts[1].conflicts[0].reason
        assert told(service).get(1, (set(), set())) == ends
        assert told(service)[2] == ({"cat", "hen"}, {"dog"})


def test_an_import_row_that_cannot_be_taken_is_named(tmp_path: Path) -> None:
    with project(tmp_path, "cat", "dog") as service:
        rows = [
            row("0000.png", ["owl"], []), row("0001.png", [], ["owl"]), row("0002.png", ["cat"], ["CAT"]),
            ImportRow(line=4, uri="0003.png", label="cat;dog"),
        ]  # fmt: skip
        receipt = service.imports.take(ImportPost(rows=rows))
        assert [issue.reason for issue in receipt.rejected] == [
            "is labeled 'owl', which is not a class here: add it first",
            "says nothing about a class that exists here",
            "says both yes and no to a class",
        ]
        assert told(service) == {4: ({"cat", "dog"}, set())}


def test_in_classification_an_answer_of_several_classes_is_refused(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 1)
    with labeler(tmp_path) as service:
        receipt = service.imports.take(ImportPost(rows=[row("0000.png", ["cat"], [])]))
        assert [issue.reason for issue in receipt.rejected] == [
            "says yes and no to classes, and an image has one class here: give a label"
        ]
        service.annotate([answer(1, "dog")])
        with written(service, "onehot", tmp_path).open(newline="", encoding="utf-8") as stream:
            assert [(row["uri"], row["dog"]) for row in csv.DictReader(stream)] == [("0000.png", "1")]


def test_a_test_set_of_several_classes_is_taken(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 6)
    (tmp_path / "test.csv").write_text("filename,label\n0000.png,cat;dog\n0001.png,dog\n", encoding="utf-8")
    with project(tmp_path, test_set=str(tmp_path / "test.csv")) as service:
        assert told(service) == {1: ({"cat", "dog"}, set()), 2: ({"dog"}, {"cat"})}
        assert service.project().splits["test"].labeled == 2


@given(st.lists(st.text(min_size=1).filter(lambda name: name == name.strip()), unique=True))
def test_names_in_one_cell_come_back(names: list[str]) -> None:
    assert names_in_cell(cell_of(names)) == names
