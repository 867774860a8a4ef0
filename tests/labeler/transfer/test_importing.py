"""Imported labels: what they become, and what they must not."""

from pathlib import Path
from typing import Any

import pytest

from labeler.service import Service
from shared.wire.imports import ImportPost, ImportReceipt, ImportRow
from tests.labeler.projects import answer, labeler, photo, photos

pytestmark = pytest.mark.usefixtures("both_stores")


def row(uri: str, label: str | None = "cat", line: int = 1, **values: object) -> ImportRow:
    return ImportRow.model_validate({"line": line, "uri": uri, "label": label, **values})


def take(service: Service, *rows: ImportRow, **values: Any) -> ImportReceipt:
    return service.imports.take(ImportPost(rows=list(rows), **values))


def labels(service: Service) -> dict[str, str | None]:
    names = {entry.id: entry.uri for entry in service.catalog.entries(0, 1_000)}
    return {names[image]: service.classes.name(label) for image, label in service.log.fold.labels.items()}


def test_labels_enter_the_log_as_imported_and_only_once(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 3)
    with labeler(tmp_path) as service:
        rows = [row("0000.png"), row(str(tmp_path / "photos" / "0001.png"), "dog", annotator="ann", confidence=0.7)]
        receipt = take(service, *rows)
        assert (receipt.labels, receipt.known, receipt.images) == (2, 0, 0)
        written = service.log.page(2, 10).annotations
        assert [(each.source, each.annotator, each.confidence) for each in written] == [
            ("import", "import", None),
            ("import", "ann", 0.7),
        ]
        end = service.log.last_seq
        again = take(service, *reversed(rows))
        assert (again.labels, again.known, service.log.last_seq) == (0, 2, end)


def test_a_dry_run_counts_and_writes_nothing(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 2)
    with labeler(tmp_path) as service:
        end = service.log.last_seq
        photo(tmp_path / "photos" / "new.png", 900)
        found = take(
            service, row("0000.png"), row("new.png"), row("gone.png", line=7), row("0001.png", "bird"), dry_run=True
        )
        assert (found.labels, found.images, found.new_classes) == (2, 1, {"bird": 1})
        assert [(each.line, each.reason.split(":")[0]) for each in found.rejected] == [
            (7, "does not exist"),
            (1, "is labeled 'bird', which is not a class here"),
        ]
        assert (service.log.last_seq, labels(service)) == (end, {})


def test_a_row_may_mean_an_uploaded_image(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 1)
    data = [photo(tmp_path / f"{shade}.png", shade).read_bytes() for shade in range(800, 804)]
    names = ["0000.png", "trip/a.png", "trip/b.png", "party/b.png"]  # the first is called as one of the folder
    with labeler(tmp_path) as service:
        receipt = service.arrivals.add_uploads([*zip(names, data, strict=True), ("again.png", data[0])])
        assert (receipt.added, receipt.duplicate_uris) == (4, ["again.png"])
        rows = [row(uri, label) for uri, label in (("0000.png", "cat"), ("a.png", "dog"), ("party/b.png", "cat"))]
        for dry_run in (True, False):
            found = take(service, *rows, row("b.png", line=4), dry_run=dry_run)
            assert (found.labels, found.images) == (3, 0)
            assert [(each.line, each.reason) for each in found.rejected] == [
                (4, "is the name of 2 uploaded images: include its folder")
            ]
        assert labels(service) == {"0000.png": "cat", "trip/a.png": "dog", "party/b.png": "cat"}
        assert service.tally.counts().labeled == 3


def test_bad_rows_stop_nothing_else(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 2)
    (tmp_path / "photos" / "broken.png").write_bytes(b"no image")
    photo(tmp_path / "outside.png", 5)
    with labeler(tmp_path) as service:
        bad = ["../outside.png", str(tmp_path / "outside.png"), "http://example.org/a.png", "gone.png", "broken.png"]
        receipt = take(service, row("0000.png"), *(row(uri, line=n) for n, uri in enumerate(bad)), row("0001.png"))
        assert sorted(each.line for each in receipt.rejected) == [0, 1, 2, 3, 4]
        assert labels(service) == {"0000.png": "cat", "0001.png": "cat"}


def test_new_classes_are_added_where_that_is_wanted_or_there_is_none(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 3)
    with labeler(tmp_path, classes=[]) as service:
        assert take(service, row("0000.png", "owl")).labels == 1
        assert [each.reason for each in take(service, row("0001.png", "hen")).rejected] == [
            "is labeled 'hen', which is not a class here: add it first"
        ]
        take(service, row("0001.png", "hen"), add_classes=True)
        assert labels(service) == {"0000.png": "owl", "0001.png": "hen"}


def test_labels_that_contradict_leave_the_image_open_until_somebody_decides(tmp_path: Path) -> None:
    photo(tmp_path / "photos" / "a.png", 1)
    photo(tmp_path / "photos" / "copy.png", 1)
    photo(tmp_path / "photos" / "b.png", 2)
    with labeler(tmp_path) as service:
        service.annotate([answer(2, "dog")])
        first, second = row("a.png", line=1), row("copy.png", "dog", line=2)
        receipt = take(service, first, second, row("b.png", "cat", line=3), conflicts="review")
        assert [each.line for each in receipt.conflicts] == [2, 3]
        assert labels(service) == {}
        assert service.log.fold.state(1).disputed
        assert take(service, first, second).known == 2
        service.annotate([answer(1, "dog", action="settle")])
        assert labels(service) == {"a.png": "dog"}


def test_an_import_keeps_replaces_or_reopens_answers_as_it_is_told(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 7)
    names = [f"{n:04d}.png" for n in range(7)]
    rows = [row(uri, "cat", line) for line, uri in enumerate(names)]
    ends = {
        # labeled dog by hand, dog by an import, settled dog, skipped, flagged, cat already, nobody yet
        "keep": ["dog", "dog", "dog", "skipped", "flagged", "cat", "cat"],
        "overwrite": ["cat"] * 7,
        "review": ["unlabeled", "unlabeled", "dog", "skipped", "flagged", "cat", "cat"],
    }
    told = {"keep": (5, 0, 0), "overwrite": (0, 5, 0), "review": (3, 0, 2)}
    for policy, end in ends.items():
        with labeler(tmp_path, workspace=tmp_path / policy) as service:
            take(service, row(names[1], "dog"))
            service.annotate([answer(1, "dog"), answer(3, "dog"), answer(6, "cat")])
            service.annotate([answer(3, "dog", action="settle"), answer(4, None, action="skip")])
            service.annotate([answer(5, None, action="flag")])
            looked = take(service, *rows, conflicts=policy, dry_run=True)
            done = take(service, *rows, conflicts=policy)
            assert looked == done
            assert (done.kept, done.overwritten, done.reopened) == told[policy]
            assert [each.line for each in done.conflicts] == [0, 1, 2, 3, 4]
            assert done.labels == 7 - done.kept
            states = [service.log.fold.state(image) for image in range(1, 8)]
            assert [service.classes.name(each.label or 0) or each.status for each in states] == end
            last = service.log.last_seq
            assert take(service, *rows, conflicts=policy).labels == 0
            assert service.log.last_seq == last


def test_a_label_given_by_hand_outlasts_the_votes_that_an_import_brings(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 1)
    votes = [{"action": "label", "label": "cat", "annotator": who} for who in ("bob", "cem")]
    both = row("0000.png", "cat", answers=votes)
    for policy, end, counts in (
        ("keep", "dog", (1, 0, 0)),
        ("overwrite", "cat", (0, 1, 0)),
        ("review", "cat", (0, 0, 1)),
    ):
        with labeler(tmp_path, workspace=tmp_path / policy) as service:
            service.annotate([answer(1, "dog")])
            done = take(service, both, conflicts=policy)
            assert (done.kept, done.overwritten, done.reopened) == counts
            assert labels(service) == {"0000.png": end}


def test_rows_of_one_import_that_contradict_each_other_are_open_whatever_is_chosen(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 2)
    with labeler(tmp_path) as service:
        began = service.log.last_seq
        assert take(service, row("0000.png", "cat"), row("0000.png", "dog"), began=began).reopened == 1
        take(service, row("0001.png", "cat"), began=began)
        assert take(service, row("0001.png", "dog"), began=began).reopened == 1  # a later part of the same file
        assert labels(service) == {}
        assert all(service.log.fold.state(image).disputed for image in (1, 2))


def test_another_spelling_is_the_class_that_is_there_and_a_misspelled_one_is_refused(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 5)
    with labeler(tmp_path, classes=["Coat", "Caf\u00e9", "dress"]) as service:
        given = ["coat", "Cafe\u0301", "DRESS ", "dress", "drss"]
        rows = [row(f"{n:04d}.png", name, n) for n, name in enumerate(given)]
        looked = take(service, *rows, dry_run=True)
        done = take(service, *rows)
        assert looked == done
        assert done.counted_as == {"coat": "Coat", "Cafe\u0301": "Caf\u00e9", "DRESS ": "dress"}
        assert [each.reason for each in done.rejected] == [
            "is labeled 'drss', which is not a class here: add it first, or did you mean 'dress'?"
        ]
        assert list(labels(service).values()) == ["Coat", "Caf\u00e9", "dress", "dress"]
        assert len(service.classes.entries()) == 3
        more = [row("0004.png", "Hat", 1), row("0004.png", "hat", 2)]
        looked = take(service, *more, add_classes=True, dry_run=True)
        assert looked == take(service, *more, add_classes=True)
        assert (looked.new_classes, looked.counted_as) == ({"Hat": 2}, {"hat": "Hat"})


def test_a_skip_or_flag_counts_only_where_nobody_answered(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 3)
    with labeler(tmp_path) as service:
        service.annotate([answer(1, "cat"), answer(2, None, action="flag")])
        end = service.log.last_seq
        rows = [row(f"000{n}.png", None, n, action="flag") for n in range(3)]
        receipt = take(service, *rows)
        assert [each.line for each in receipt.conflicts] == [0]
        assert (receipt.labels, receipt.known, service.log.last_seq) == (1, 1, end + 1)
        assert [service.log.fold.state(image).status for image in (1, 2, 3)] == ["labeled", "flagged", "flagged"]
        assert take(service, *rows).labels == 0


def test_a_held_out_image_keeps_no_imported_label_unless_its_row_names_the_split(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 40)
    with labeler(tmp_path, test_set_frac=0.5) as service:
        split = {entry.uri: entry.split for entry in service.catalog.entries(0, 100)}
        drawn = [uri for uri, each in split.items() if each == "test"]
        receipt = take(service, *(row(uri) for uri in split))
        assert receipt.held_out == len(drawn) > 0
        assert labels(service).keys() == split.keys() - set(drawn)
        given = next(uri for uri, each in split.items() if each == "train")
        take(service, row(given, split="test"), row(drawn[0], "dog", split="train"))
        now = {entry.uri: entry.split for entry in service.catalog.entries(0, 100)}
        assert (now[given], now[drawn[0]]) == ("test", "train")
        assert labels(service)[drawn[0]] == "dog"


def test_an_answered_test_image_is_never_moved_where_it_would_be_learned_from(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 20)
    with labeler(tmp_path, test_set_frac=0.5) as service:
        entry = next(entry for entry in service.catalog.entries(0, 100) if entry.split == "test")
        service.annotate([answer(entry.id)])
        receipt = take(service, row(entry.uri, "dog", split="train"))
        assert "it stays a test image" in receipt.rejected[0].reason
        assert service.tally.splits[entry.id] == "test"


def test_an_image_answered_with_a_suggestion_cannot_become_a_test_image(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 2)
    with labeler(tmp_path, test_set_frac=0) as service:
        service.annotate([answer(1)])
        receipt = take(service, row("0000.png", split="test"), row("0001.png", split="test"))
        assert [(each.uri, each.reason.split(" with")[0]) for each in receipt.rejected] == [
            ("0000.png", "was answered here")
        ]
        assert service.tally.splits == {1: "train", 2: "test"}


def test_an_image_new_to_the_catalogue_is_taken_in_under_the_split_of_its_row(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 1)
    with labeler(tmp_path) as service:
        photo(tmp_path / "photos" / "late.png", 800)
        receipt = take(service, row("late.png", split="test"))
        assert (receipt.images, receipt.labels) == (1, 1)
        assert service.tally.splits[2] == "test"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (".hidden/new.png", "'.hidden' is a name of hidden or system files, so rename it"),
        ("sub/.new.png", "'.new.png' is a name of hidden or system files, so rename it"),
        ("@eaDir/new.png", "'@eaDir' is a name of hidden or system files, so rename it"),
        ("new.TXT", "files that end in '.txt' are not read as images, so rename it"),
        ("workspace/exports/new.png", "it is in the workspace, so copy it to the images"),
    ],
)
def test_a_photo_that_no_scan_lists_is_not_added_by_an_import_either(tmp_path: Path, name: str, reason: str) -> None:
    photos(tmp_path / "photos", 2)
    (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "photos" / name).write_bytes(photo(tmp_path / "new.png", 900).read_bytes())
    with labeler(tmp_path, workspace=str(tmp_path / "photos" / "workspace")) as service:
        assert service.project().images.total == 2, "the scan"
        for named in (name, str(tmp_path / "photos" / name)):
            receipt = take(service, row(named), row("0000.png"))
            (refused,) = receipt.rejected
            assert refused.reason == f"is skipped: {reason}"
            added = service.arrivals.add_uris([named])
            assert (added.added, [each.reason for each in added.rejected]) == (0, [refused.reason])
        assert (service.project().images.total, labels(service)) == (2, {"0000.png": "cat"})
