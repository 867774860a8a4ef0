"""A merge keeps each answer once, decides differences by a rule, and never turns a test image into a train image."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any, get_args

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commands.labels.merge import ORDER, Prefer, Row, label_of, merge, records, run
from flywheel import Flywheel, FlywheelError
from labeler.transfer.rows.imported import row_of
from labeler.transfer.sources import open_source
from shared.class_names import Spellings
from shared.log import IMPORT
from shared.settings.services import SettingsError
from shared.wire.fields import Split
from shared.wire.imports import ImportedAnswer, ImportIssue, ImportPost, ImportRow
from tests import forks
from tests.labeler.projects import answer, labeler, photos

ANSWERS = st.lists(
    st.one_of(
        st.builds(
            ImportedAnswer,
            action=st.sampled_from(["label", "settle"]),
            label=st.sampled_from(["cat", "dog"]),
            annotator=st.sampled_from(["ann", "bob", "cem", IMPORT]),
        ),
        st.builds(
            ImportedAnswer,
            action=st.sampled_from(["skip", "flag", "settle"]),
            annotator=st.sampled_from(["ann", "bob"]),
        ),
    ),
    max_size=4,
    unique_by=lambda said: said.action == "settle" or said.annotator,
)
SIDES = st.dictionaries(st.sampled_from("abc"), st.tuples(ANSWERS, st.sampled_from(ORDER)))
Side = dict[str, tuple[list[ImportedAnswer], Split | None]]


def row(uri: str, label: str, annotator: str = IMPORT, **more: Any) -> Row:
    return Row(uri, [ImportedAnswer(action="label", label=label, annotator=annotator)], **more)


def rows(side: Side) -> list[Row]:
    return [Row(uri, answers, split) for uri, (answers, split) in side.items()]


def who(answers: list[ImportedAnswer]) -> set[str]:
    return {said.annotator for said in answers if said.action != "settle"}


@given(first=SIDES, second=SIDES, prefer=st.sampled_from(get_args(Prefer)))
def test_which_label_is_kept_and_by_whom(first: Side, second: Side, prefer: Prefer) -> None:
    images = {image.uri: image for image in merge(rows(first), rows(second))}
    assert images.keys() == first.keys() | second.keys()
    for uri, image in images.items():
        (answers, split), (others, its) = first.get(uri, ([], None)), second.get(uri, ([], None))
        one, other = label_of(answers), label_of(others)
        kept = image.kept(prefer)
        assert image.conflict == bool(one and other and one != other)
        if image.conflict:
            assert label_of(kept) == {"first": one, "second": other, "neither": ""}[prefer]
        elif one or other:
            assert label_of(kept) == one or other
        else:
            assert who(kept) == who(answers) | who(others)
        assert all(any(said.annotator == each.annotator for each in answers + others) for said in kept)
        told = [where for given, where in ((answers, split), (others, its)) if given]
        record, *_ = [*records([image], prefer), {"split": None}]
        assert record["split"] == max(told or [split, its], key=ORDER.index)


def test_spellings_of_one_class_do_not_differ() -> None:
    spellings = Spellings()
    (image,) = merge([row("a", "Coat", "ann")], [row("a", "coat", "bob")], spellings)
    assert not image.conflict
    assert label_of(image.kept("neither")) == "Coat"
    assert spellings.taken == {"coat": "Coat"}


def test_a_differently_spelled_name_is_the_same_image() -> None:
    nfc, nfd = (unicodedata.normalize(form, "été.png") for form in ("NFC", "NFD"))
    mine = [row(nfc, "cat", "ann"), row("s/a.png", "cat", "ann")]
    assert len(merge(mine, [row(nfd, "cat", "bob"), row("s\\a.png", "dog", "bob")])) == 2
    both = [row(nfc, "cat", "ann"), row(nfd, "dog", "ann")]
    assert len(merge(both, [row(nfd, "dog", "bob")])) == 2  # two files of one side


@given(side=SIDES, prefer=st.sampled_from(get_args(Prefer)))
def test_a_merge_with_itself_or_nothing_keeps_every_answer(side: Side, prefer: Prefer) -> None:
    for second in (side, {}):
        images = merge(rows(side), rows(second))
        assert [image.kept(prefer) for image in images] == [answers for answers, _ in side.values()]
        assert not any(image.conflict for image in images)
        read = {}
        for line, record in enumerate(records(images, prefer)):
            known = row_of(line, record)
            assert not isinstance(known, ImportIssue)
            if known is not None and known.answers:
                read[known.uri] = known.answers
            elif known is not None and known.action != "open":
                by = known.annotator or IMPORT
                read[known.uri] = [ImportedAnswer(action=known.action, label=known.label, annotator=by)]
        assert read == {uri: answers for uri, (answers, _) in side.items() if answers}


def test_two_workspaces_by_content_and_a_manifest_by_name(tmp_path: Path) -> None:
    for name, prefix in (("one", ""), ("two", "renamed-")):
        photos(tmp_path / name / "photos", 4)
        for file in (tmp_path / name / "photos").iterdir():
            file.rename(file.with_name(prefix + file.name))
    with labeler(tmp_path / "one") as service:
        service.annotate([answer(1, "cat"), answer(2, "cat"), answer(3, "dog")])
    with labeler(tmp_path / "two") as service:
        service.catalog.move([1], "test")
        service.annotate([answer(1, "cat", annotator="bob"), answer(2, "dog", annotator="bob"), answer(4, "dog")])
    target = tmp_path / "merged.jsonl"
    images = run(tmp_path / "one" / "workspace", tmp_path / "two" / "workspace", target, "neither")
    assert sum(image.conflict for image in images) == 1
    rows: list[Any] = [json.loads(line) for line in target.read_text().splitlines()]
    assert [(row["uri"], row["label"]) for row in rows] == [
        ("0000.png", "cat"),
        ("0001.png", None),
        ("0002.png", "dog"),
        ("renamed-0003.png", "dog"),
    ]
    assert rows[0]["split"] == "test"
    photos(tmp_path / "three" / "photos", 3)
    with labeler(tmp_path / "three") as service:
        taken = [row for row in open_source(target).rows() if isinstance(row, ImportRow)]
        receipt = service.imports.take(ImportPost(rows=taken))
        assert len(receipt.rejected) == 1  # of the photo that is not here
        states = [service.log.fold.state(image) for image in (1, 2, 3)]
        assert [(state.label, state.disputed) for state in states] == [(1, False), (None, True), (2, False)]
        assert states[0].answered == states[1].answered == {"ann", "bob"}
        assert service.tally.splits[1] == "test"


def test_from_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("uri,label\nx.png,cat\ny.png,cat\n")
    (tmp_path / "b.csv").write_text("uri,label\nx.png,dog\n")
    done = forks.flywheel("merge", "a.csv", "b.csv", "c.jsonl", "--prefer", "second", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "2 images, 1 of them with different labels" in done.stdout
    assert [json.loads(line)["label"] for line in (tmp_path / "c.jsonl").read_text().splitlines()] == ["dog", "cat"]
    with pytest.raises(SettingsError, match="first, second, neither"):
        run(tmp_path / "a.csv", tmp_path / "b.csv", tmp_path / "d.jsonl", "newest")
    (tmp_path / "b.csv").write_text("uri,label,split\nx.png,dog,later\n")
    with pytest.raises(SettingsError, match="line 2"):
        run(tmp_path / "a.csv", tmp_path / "b.csv", tmp_path / "d.jsonl", "first")
    assert not (tmp_path / "d.jsonl").exists()


def test_one_name_for_two_images_is_refused() -> None:
    """Their labels would be mixed up."""
    first, second = (row("IMG_0001.jpg", label, sha256=label) for label in ("cat", "dog"))
    with pytest.raises(SettingsError, match=r"different image called IMG_0001\.jpg"):
        merge([first], [second])


def test_tables_in_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos(tmp_path / "photos", 3))
    with labeler(tmp_path) as service:
        service.annotate([answer(1, "cat"), answer(2, None, action="flag")])
    table = pd.DataFrame({"uri": ["0000.png", "0002.png"], "label": ["dog", "dog"], "split": ["test", None]})
    merged = Flywheel.merge(tmp_path / "workspace", table, prefer="second")
    assert merged[["uri", "label", "split", "status"]].fillna("").values.tolist() == [
        ["0000.png", "dog", "test", "labeled"],
        ["0001.png", "", "train", "flagged"],
        ["0002.png", "dog", "", "labeled"],
    ]
    assert list(Flywheel.merge(merged, merged)["label"].fillna("")) == ["dog", "", "dog"]
    with pytest.raises(FlywheelError, match=r"line 1: names no image"):
        Flywheel.merge(merged, pd.DataFrame({"uri": [None], "label": ["cat"]}))
    with pytest.raises(FlywheelError, match="first, second, neither"):
        Flywheel.merge(merged, merged, prefer="third")


def test_an_image_that_one_side_left_open_stays_open(tmp_path: Path) -> None:
    said = [
        {"action": "label", "label": label, "annotator": who, "counts": counts}
        for label, who, counts in (("cat", "ann", True), ("dog", "bob", True), ("dog", "cem", False))
    ]
    table = pd.DataFrame({"uri": ["x.png"], "label": [None], "status": ["unlabeled"], "history": [said]})
    merged = Flywheel.merge(table, pd.DataFrame({"uri": ["y.png"], "label": ["cat"]}))
    assert merged[["uri", "label", "status"]].fillna("").values.tolist() == [
        ["x.png", "", "unlabeled"],
        ["y.png", "cat", "labeled"],
    ]
    history = json.loads(merged["history"][0])
    assert [(each["label"], each["annotator"]) for each in history] == [("cat", "ann"), ("dog", "bob")]
    merged.to_csv(tmp_path / "merged.csv", index=False)
    again = Flywheel.merge(tmp_path / "merged.csv", merged)
    assert list(again["history"].fillna("")) == [merged["history"][0], ""]


def test_boxes_cannot_be_merged_as_one_class_per_image(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 1)
    with labeler(tmp_path, task="detection"):
        pass
    (tmp_path / "a.csv").write_text("file,label\n0000.png,cat\n")
    with pytest.raises(SettingsError, match="has no columns for boxes"):
        run(tmp_path / "workspace", tmp_path / "a.csv", tmp_path / "merged.jsonl", "first")
