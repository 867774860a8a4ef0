"""FiftyOne's dataset folder, as the importer of FiftyOneDataset takes it, and back again with all that it holds."""

from __future__ import annotations

import json
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from labeler.errors import Missing
from labeler.transfer.formats import datasets, fiftyone
from labeler.transfer.rows.exported import ExportRow, extras_named
from labeler.transfer.sources import open_source
from shared.wire.imports import ImportRow
from tests.labeler.projects import answer, labeler, photo
from tests.labeler.transfer.formats.test_round_trips import bring, everything

CLASSES = ['dog, "big"', "<猫>", "50%20"]


def unpacked(stream: Any, folder: Path) -> Path:
    with zipfile.ZipFile(BytesIO(b"".join(stream))) as archive:
        archive.extractall(folder)
    return folder


def row(number: int, **more: Any) -> ExportRow:
    values = {"uri": f"{number}.png", "sha256": "", "split": "train", "label": "cat", "status": "labeled"}
    return ExportRow(number, **(values | {"read": lambda: b"photo"} | more))


def test_an_export_has_what_the_importer_of_fiftyone_asks_for(tmp_path: Path) -> None:
    rows = [row(1, uri="sub/a.png", split="test"), row(2, label=None, status="skipped"), row(3, label="dog")]
    folder = unpacked(fiftyone.write(iter([*rows, row(4, label=None, status="unlabeled")]), frozenset()), tmp_path)
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert files == ["data/1-a.png", "data/2-2.png", "data/3-3.png", "metadata.json", "samples.json"]
    about = json.loads((folder / "metadata.json").read_text())
    assert "version" not in about  # else FiftyOne takes it for a dump of its database
    assert about == {"media_type": "image", "info": {"classes": {"ground_truth": ["cat", "dog"]}}}
    content = json.loads((folder / "samples.json").read_text())
    assert list(content) == ["samples"]
    assert [(each["filepath"], each["tags"], each["ground_truth"]) for each in content["samples"]] == [
        ("data/1-a.png", ["test"], {"_cls": "Classification", "label": "cat"}),
        ("data/2-2.png", ["train"], None),
        ("data/3-3.png", ["train"], {"_cls": "Classification", "label": "dog"}),
    ]
    for each in content["samples"]:
        assert not {"id", "_id", "created_at", "last_modified_at"} & each.keys()  # FiftyOne's own


def test_predictions_of_a_model_are_not_labels(tmp_path: Path) -> None:
    rows = [row(1, predicted=("dog", 0.9)), row(2, label=None, status="skipped", predicted=("dog", 0.5)), row(3)]
    folder = unpacked(fiftyone.write(iter(rows), extras_named(["predictions"])), tmp_path)
    samples = json.loads((folder / "samples.json").read_text())["samples"]
    assert [each["prediction"] for each in samples] == [
        {"_cls": "Classification", "label": "dog", "confidence": 0.9},
        {"_cls": "Classification", "label": "dog", "confidence": 0.5},
        None,
    ]
    source = open_source(folder)
    found = [(each.action, each.label) for each in source.rows() if isinstance(each, ImportRow)]
    assert found == [("label", "cat"), ("skip", None), ("label", "cat")]
    assert source.told() == ["skipped: 2 classifications of the field prediction beside ground_truth, first line 1"]


@pytest.mark.parametrize("name", ["fiftyone", "datasets"])
def test_every_answer_comes_back_with_its_history(tmp_path: Path, name: str) -> None:
    for shade in range(5):
        photo(tmp_path / "one" / "photos" / f"{shade}.png", shade)
    with labeler(tmp_path / "one", classes=CLASSES, overlap=3) as service:
        service.catalog.move([2], "test")
        service.annotate([answer(1, CLASSES[0]), answer(1, CLASSES[1], annotator="bob"), answer(2, CLASSES[1])])
        service.annotate([answer(3, CLASSES[2]), answer(4, None, action="flag"), answer(3, CLASSES[0])])
        before = {part: sorted(map(str, told)) for part, told in nameless(everything(service)).items()}
        extras = extras_named(["annotators", "history"])
        unpacked(service.exports.begin(name, extras=extras)[0], tmp_path / "two" / "photos")
    with labeler(tmp_path / "two", classes=CLASSES, overlap=3) as service:
        receipt = bring(service, tmp_path / "two" / "photos")
        assert (receipt.rejected, receipt.conflicts) == ([], [])
        assert {part: sorted(map(str, told)) for part, told in nameless(everything(service)).items()} == before
        assert bring(service, tmp_path / "two" / "photos").labels == 0


def nameless(told: dict[str, Any]) -> dict[str, list[Any]]:
    """The same of images that were answered, under other names."""
    votes = [{name: value for name, value in vote.items() if name != "uri"} for vote in told["votes"]]
    answered = {vote["uri"] for vote in told["votes"]}
    return {"votes": votes} | {
        part: [value for uri, value in told[part].items() if uri in answered]
        for part in ("states", "splits", "labeled at", "history")
    }


@pytest.mark.parametrize("write", [fiftyone.write, datasets.write])
def test_a_photo_that_cannot_be_read_any_more_is_named(tmp_path: Path, write: Any) -> None:
    def gone() -> bytes:
        raise Missing("b.png is not there.")

    folder = unpacked(write(iter([row(1), row(2, uri="b.png", read=gone)]), frozenset()), tmp_path)
    assert (folder / "left_out.txt").read_text() == "b.png: b.png is not there.\n"
    assert len([each for each in open_source(folder).rows() if isinstance(each, ImportRow)]) == 1
