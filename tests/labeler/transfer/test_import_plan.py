"""An import is one operation: neither its division into requests nor a dry run changes its result."""

from collections import Counter
from collections.abc import Sequence
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from labeler.errors import Missing
from labeler.service import Service
from labeler.web.api import create_api
from shared.importing import take_rows
from shared.wire.imports import ImportPost, ImportReceipt, ImportRow
from tests.labeler.projects import answer, labeler, photo, photos
from tests.labeler.transfer.test_importing import labels, row, take
from tests.labeler.transfer.test_label_files import settled


def parts(service: Service, rows: Sequence[ImportRow], cuts: Sequence[int], **values: Any) -> ImportReceipt:
    """One import of these rows in requests that end at `cuts`; returns their receipts combined."""
    edges = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    whole, import_id = ImportReceipt(), None
    for start, end in pairwise(edges):
        more = (start, end) != (edges[-2], edges[-1])
        receipt = service.imports.take(ImportPost(rows=list(rows[start:end]), import_id=import_id, more=more, **values))
        import_id = receipt.import_id
        for name in ("labels", "known", "images", "held_out", "kept", "overwritten", "reopened"):
            setattr(whole, name, getattr(whole, name) + getattr(receipt, name))
        whole.new_classes = dict(Counter(whole.new_classes) + Counter(receipt.new_classes))
        whole.counted_as |= receipt.counted_as
        whole.conflicts += receipt.conflicts
        whole.rejected += receipt.rejected
    whole.rejected.sort(key=lambda issue: issue.line)
    return whole


def state(service: Service) -> dict[str, Any]:
    """What an import may change: split, label and votes of each image, and the classes."""
    fold, named = service.log.fold, service.classes.name
    entries = service.catalog.entries(0, 1_000)
    said = {
        each.uri: sorted(
            (who, action, label and named(label)) for who, (action, label) in fold.answers(each.id).items()
        )
        for each in entries
    }
    ends = {
        each.uri: (each.split, fold.state(each.id).status, named(fold.state(each.id).label or 0)) for each in entries
    }
    return {"said": said, "ends": ends, "classes": [each.name for each in service.classes.entries()]}


@pytest.fixture
def post(monkeypatch: pytest.MonkeyPatch) -> int:
    """The number of rows that a client sends at once, here as few as show what the end of a post changes."""
    monkeypatch.setattr("shared.importing.BATCH", 100)
    return 100


@pytest.mark.usefixtures("post")
def test_classes_of_a_project_without_any_are_added_wherever_the_first_post_ends(tmp_path: Path) -> None:
    names = ["cat", "dog", "cow"]
    photos(tmp_path / "photos", 20)
    rows = [row(f"{n % 20:04d}.png", names[n * 3 // 240], n, annotator=f"a{n // 20}") for n in range(240)]
    with labeler(tmp_path, classes=[]) as service:
        looked = take_rows(rows, tmp_path, service.imports.take, dry_run=True)
        done = take_rows(rows, tmp_path, service.imports.take)
        assert (done.counts["labels"], done.counts["rejected"]) == (240, 0)
        assert done.new_classes == {"cat": 80, "dog": 80, "cow": 80}
        assert (looked.counts, looked.new_classes, looked.issues) == (done.counts, done.new_classes, done.issues)
        assert [each.name for each in service.classes.entries()] == names
        assert take(service, row("0000.png", "hen")).rejected, "the project is not empty any more"


@pytest.mark.parametrize("way", ["label file", "cut off and begun again"])
def test_the_last_class_of_a_project_without_any_is_taken_in_every_way(tmp_path: Path, way: str, post: int) -> None:
    photos(tmp_path / "photos", 20)
    lines = [f"{n % 20:04d}.png,{'cat' if n < post else 'cow'},a{n // 20}" for n in range(post + 30)]
    with labeler(tmp_path, classes=[]) as service:
        if way == "label file":
            text = "\n".join(["filename,label,annotator", *lines])
            given = settled(service, service.label_files.add("labels.csv", BytesIO(text.encode())).id)
            service.label_files.take(given.id, add_classes=False)
            taken = settled(service, given.id)
            assert (taken.labels, taken.rejected) == (given.labels, given.rejected) == (post + 30, 0)
            return
        parts = [line.split(",") for line in lines]
        rows = [row(uri, label, n, annotator=who) for n, (uri, label, who) in enumerate(parts)]
        service.imports.take(ImportPost(rows=rows[:post], more=True))
    with labeler(tmp_path, classes=[]) as service:  # the first post came, then one of both was killed
        done = take_rows(rows, tmp_path, service.imports.take)
        assert (done.counts["known"], done.counts["labels"], done.counts["rejected"]) == (post, 30, 0)


@pytest.mark.parametrize("order", [("train", "test"), ("test", "train"), ("train", "validation")])
@pytest.mark.parametrize("cuts", [[], [1]])
def test_one_picture_in_two_splits_measures_and_is_named(
    tmp_path: Path, order: tuple[str, str], cuts: list[int]
) -> None:
    for split in order:
        photo(tmp_path / "photos" / split / "cat" / "a.png", 1)
    rows = [row(f"{split}/cat/a.png", "cat", line, split=split) for line, split in enumerate(order)]
    with labeler(tmp_path) as service:
        looked = parts(service, rows, cuts, dry_run=True)
        done = parts(service, rows, cuts)
        assert looked == done
        assert [each.line for each in (*done.rejected, *done.conflicts)] == [1]
        assert service.tally.splits == {1: max(order, key=["train", "validation", "test"].index)}


def test_a_dry_run_counts_contradictions_wherever_they_lie(tmp_path: Path, post: int) -> None:
    photos(tmp_path / "photos", 22)
    far = [row(f"{2 + n % 20:04d}.png", "cat", n, annotator=f"a{n // 20}") for n in range(post + 20)]
    ends = [row("0000.png", "dog", 9_998), row("0002.png", "dog", 9_999, annotator="z")]
    rows = [row("0000.png", "cat", 0), *far, *ends]
    with labeler(tmp_path) as service:
        outcomes = [take_rows(rows, tmp_path, service.imports.take, dry_run=dry_run) for dry_run in (True, False)]
    assert outcomes[0] == outcomes[1]
    assert outcomes[0].counts["reopened"] == 2
    assert [each.reason for each in outcomes[0].issues["conflict"]] == [
        "is labeled 'dog' in this row, but already 'cat': open until somebody decides",
        "is labeled 'dog' in this row, but already 'cat': most say 'cat'",
    ]


def test_a_dry_run_sees_what_files_that_are_new_hold(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 1)
    with labeler(tmp_path, test_set_frac=0.5, watch=False) as service:
        for name, shade in (("a.png", 7), ("copy.png", 7), *((f"new{n}.png", 10 + n) for n in range(20))):
            photo(tmp_path / "photos" / name, shade)
        (tmp_path / "photos" / "broken.png").write_bytes(b"no image")
        names = ["a.png", "copy.png", "broken.png", *(f"new{n}.png" for n in range(20))]
        rows = [row(uri, "dog" if uri == "copy.png" else "cat", n) for n, uri in enumerate(names)]
        looked = parts(service, rows, [1, 5], dry_run=True)
        assert len(service.catalog.entries(0, 100)) == 1
        done = parts(service, rows, [1, 5])
        assert looked == done
        assert (done.images, len(done.rejected)) == (21, 1)
        assert done.held_out > 0


def test_a_part_of_an_import_that_is_not_known_is_refused(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 2)
    with labeler(tmp_path) as service:
        import_id = service.imports.take(ImportPost(rows=[row("0000.png")], more=True)).import_id
        last = ImportPost(rows=[row("0001.png")], import_id=import_id)
        assert service.imports.take(last).import_id is None
        with pytest.raises(Missing, match="start it again"):
            service.imports.take(last)
        client = TestClient(create_api(service))
        body = {"rows": [{"line": 1, "uri": "0000.png", "label": "dog", "annotator": "ann"}], "more": True}
        first = client.post("/import", json=body).json()
        assert (first["labels"], first["reopened"], first["import_id"] is None) == (1, 1, False)
        body = {"rows": [{"line": 2, "uri": "0000.png", "label": "dog", "annotator": "ann"}]}
        assert client.post("/import", json={**body, "import_id": first["import_id"]}).json()["known"] == 1
        assert client.post("/import", json={**body, "import_id": first["import_id"]}).status_code == 404


URIS = [*(f"{n:04d}.png" for n in range(5)), "copy.png", "gone.png"]


@st.composite
def files(draw: st.DrawFn) -> list[ImportRow]:
    """Rows of a file that may contradict itself, on labels and on splits."""
    said = st.sampled_from(
        [("label", "cat"), ("label", "dog"), ("label", "Dog"), ("label", "owl"), ("skip", None), ("open", None)]
    )
    given = st.tuples(
        st.sampled_from(URIS),
        said,
        st.sampled_from([None, "ann", "bob"]),
        st.sampled_from([None, None, None, "train", "validation", "test"]),
    )
    return [
        row(uri, label, line, action=action, split=split, annotator=annotator)
        for line, (uri, (action, label), annotator, split) in enumerate(draw(st.lists(given, max_size=14)))
        if split or action != "open"  # an open row needs a split
    ]


OVERWRITTEN = [row("0001.png", "cat", 0), row("0001.png", "Dog", 1)]  # where "dog" was imported before
TWO_SPLITS = [  # the first row of each pair holds its image out less than the second one
    row("0000.png", "cat", 0, split="train"),
    row("0000.png", "cat", 1, split="validation"),
    row("0001.png", "cat", 2, split="validation"),
    row("0001.png", "cat", 3, split="test"),
    row("0004.png", None, 4, action="open", split="train"),
    row("0004.png", None, 5, action="open", split="test"),
]


@settings(max_examples=15, deadline=None)
@example(OVERWRITTEN, [], "overwrite", False)
@example(OVERWRITTEN, [1], "overwrite", True)
@example(TWO_SPLITS, [1, 3, 5], "keep", False)
@given(
    files(),
    st.lists(st.integers(0, 14), max_size=3),
    st.sampled_from(["keep", "overwrite", "review"]),
    st.booleans(),
)
def test_where_posts_end_changes_nothing_and_neither_does_a_dry_run(
    rows: list[ImportRow], cuts: list[int], conflicts: Any, add_classes: bool
) -> None:
    choices = {"conflicts": conflicts, "add_classes": add_classes}
    ends = []
    for edges in ([], cuts, range(len(rows))):
        with TemporaryDirectory() as folder:
            photo(_five(Path(folder)) / "photos" / "copy.png", 0)
            with labeler(Path(folder), test_set_frac=0.2, blind_mode=False) as service:
                service.catalog.move([1, 2, 3, 4], "train")
                service.catalog.move([5], "test")
                take(service, row("0001.png", "dog"))
                service.annotate([answer(3, "dog"), answer(4, "dog"), answer(4, "cat", action="settle")])
                looked = [parts(service, rows, each, dry_run=True, **choices) for each in ([], cuts)]
                done = parts(service, rows, edges, **choices)
                assert [done, done] == looked
                ends.append(state(service))
                if done.held_out and any(each.split == "train" for each in rows):
                    # A row was left out because its image was held out until a later row: the next import brings it.
                    parts(service, rows, cuts, **choices)
                last, end = service.log.last_seq, state(service)
                assert parts(service, rows, cuts, **choices).labels == 0, "again changes nothing"
                assert (service.log.last_seq, state(service)) == (last, end)
                said = {each.uri for each in rows if each.split == "test"}
                names = {entry.id: entry.uri for entry in service.catalog.entries(0, 100)}
                measured = {names[image] for image, split in service.tally.splits.items() if split == "test"}
                assert measured & labels(service).keys() <= said | ({"0000.png", "copy.png"} if said else set())
    assert ends[0] == ends[1] == ends[2]


@pytest.mark.parametrize("more", [[], [row("0001.png", "cat", 2, split="validation")]])
def test_a_held_out_image_moves_to_train_only_if_no_later_row_holds_it_out(
    tmp_path: Path, more: list[ImportRow]
) -> None:
    photos(tmp_path / "photos", 2)
    with labeler(tmp_path) as service:
        take(service, row("0001.png", "cat", split="validation"))
        image, last = 2, service.log.last_seq
        to_train = row("0001.png", "cat", split="train")
        begun = service.imports.take(ImportPost(rows=[to_train, row("0000.png", "cat", 1)], more=True))
        assert service.tally.splits[image] == "validation", "a later row may hold it out"
        assert service.log.last_seq == last + 1, "what is certain is written: the label of the other image"
        service.imports.take(ImportPost(rows=more, import_id=begun.import_id))
        assert service.tally.splits[image] == ("validation" if more else "train")


def test_a_test_image_that_is_named_train_gets_its_first_label_in_train(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 2)
    with labeler(tmp_path) as service:
        service.catalog.move([2], "test")
        to_train = row("0001.png", "cat", split="train")
        service.imports.take(ImportPost(rows=[to_train], more=True))  # and it is cut off here
        assert (service.tally.splits[2], labels(service)["0001.png"]) == ("train", "cat")
        assert take(service, to_train).rejected == []


def _five(folder: Path) -> Path:
    photos(folder / "photos", 5)
    return folder
