"""Folders of photos as people have them: which folder is a split, which a class, and what is left out."""

from pathlib import Path

import pytest

from labeler.transfer.formats.folder_layout import FolderLabels, split_of
from labeler.transfer.sources import open_source
from labeler.transfer.test_set import open_test_set
from shared.images.finding import find_images
from shared.importing import take_rows
from shared.settings.services import SettingsError
from shared.wire.imports import ImportIssue, ImportRow
from tests.labeler.projects import labeler, photo

TWO = ("train/cat/1.png", "train/dog/2.png", "val/cat/3.png", "val/dog/4.png")
HELD_OUT = {("cat", "train"), ("dog", "train"), ("cat", "validation"), ("dog", "validation")}


def filled(folder: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        photo(folder / name, number + 1)
    return folder


def said(labels: FolderLabels) -> set[tuple[str | None, str | None]]:
    return {(row.label, row.split) for row in labels.rows() if isinstance(row, ImportRow)}


def issues(labels: FolderLabels) -> list[tuple[str, str]]:
    return [(row.uri, row.reason) for row in labels.rows() if isinstance(row, ImportIssue)]


@pytest.mark.parametrize(
    ("beside", "told"),
    [
        ("__MACOSX/train/._1.png", "Skipped system files: __MACOSX/"),
        ("@eaDir/1.png/SYNOPHOTO_THUMB_M.png", "@eaDir/"),
        (".ipynb_checkpoints/1.png", ".ipynb_checkpoints/"),
        ("#recycle/cat/1.png", "#recycle/"),
        ("docs/figure.png", "1 photo in no class folder got no label: docs (1)."),
        ("unlabeled/5.png", "1 photo in no class folder got no label: unlabeled (1)."),
        ("figure.png", "1 photo in no class folder got no label: the folder itself (1)."),
    ],
)
def test_a_folder_beside_the_splits_changes_nothing(tmp_path: Path, beside: str, told: str) -> None:
    labels = FolderLabels(filled(tmp_path, *TWO, beside))
    assert said(labels) == HELD_OUT
    assert any(told in each for each in labels.told()), labels.told()
    assert labels.told()[0].startswith("The folders train, val are read as splits, and the folders in them as classes.")


@pytest.mark.parametrize("wrapped", ["photos", "export-2026/photos"])
def test_one_folder_that_wraps_everything_is_looked_through(tmp_path: Path, wrapped: str) -> None:
    filled(tmp_path, *(f"{wrapped}/{name}" for name in TWO), "__MACOSX/x.png")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "read me.txt").write_text("no photo")
    assert said(FolderLabels(tmp_path)) == HELD_OUT
    plain = FolderLabels(filled(tmp_path / "plain", "my photos/cat/1.png", "my photos/dog/2.png"))
    assert said(plain) == {("cat", None), ("dog", None)}
    assert "give the layout class" in plain.told()[0]
    assert said(FolderLabels(tmp_path / "plain", "class")) == {("my photos", None)}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("Train/cat/1.png", "TEST/cat/2.png"), {("cat", "train"), ("cat", "test")}),
        (("train2017/cat/1.png", "val2017/cat/2.png"), {("cat", "train"), ("cat", "validation")}),
        (("training_set/cat/1.png", "test_set/cat/2.png"), {("cat", "train"), ("cat", "test")}),
        (("train/cat/1.png", "train/dog/2.png", "test/3.png"), {("cat", "train"), ("dog", "train")}),
        (
            ("cat/train/1.png", "cat/val/2.png", "dog/train/3.png"),
            {("cat", "train"), ("cat", "validation"), ("dog", "train")},
        ),
        (("train/cat/1.png", "train/no_label/2.png"), {("cat", "train")}),
        (("cat/1.png", "no_label/2.png"), {("cat", None)}),
        (("train/1.png", "car/2.png", "bus/3.png"), {("train", None), ("car", None), ("bus", None)}),
        (("cat/monday/1.png", "dog/tuesday/2.png"), {("cat", None), ("dog", None)}),
        (("cat/1.png",), {("cat", None)}),
        (("100%Baumwolle/1.png", "5%C3/2.png"), {("100%Baumwolle", None), ("5%C3", None)}),
    ],
)
def test_what_folders_mean(tmp_path: Path, names: tuple[str, ...], expected: set[tuple[str, str | None]]) -> None:
    assert said(FolderLabels(filled(tmp_path, *names))) == expected


def test_a_layout_can_be_chosen(tmp_path: Path) -> None:
    folder = filled(tmp_path, "train/cat/1.png", "car/red/2.png", "car/3.png")
    assert said(FolderLabels(folder, "class")) == {("train", None), ("car", None)}
    assert said(FolderLabels(folder, "split/class")) == {("cat", "train")}
    assert said(FolderLabels(folder, "*/class")) == {("cat", None), ("red", None)}
    for wrong in ("classes", "split", "split/split/class", "class/class"):
        with pytest.raises(SettingsError, match="A layout is one of class"):
            FolderLabels(folder, wrong)
    with pytest.raises(SettingsError, match="is not a folder"):
        open_source(folder / "car" / "3.png", layout="class")


def test_names_that_mean_a_split() -> None:
    for name in (
        "train",
        "Val",
        "VALID",
        "validation",
        "test",
        "testing",
        "dev",
        "train_set",
        "test-images",
        "val2017",
    ):
        assert split_of(name) is not None
    for name in ("trainer", "testament", "valley", "devil", "train2", "cat", ""):
        assert split_of(name) is None


def test_the_scan_and_the_import_leave_out_the_same(tmp_path: Path) -> None:
    folder = filled(tmp_path / "photos", *TWO, "__MACOSX/a.png", "train/cat/@eaDir/b.png", "Thumbs/c.png", ".d/e.png")
    assert [row.uri for row in FolderLabels(folder).rows()] == list(find_images(folder)) == sorted(TWO)
    with labeler(tmp_path) as service:
        assert sorted(entry.uri for entry in service.catalog.entries(0, 100)) == sorted(TWO)
        (told,) = service.project().scanning.left_out
        assert all(name in told for name in ("__MACOSX/", "@eaDir/", "Thumbs/", ".d/"))


def test_a_test_set_is_read_as_such_a_folder(tmp_path: Path) -> None:
    filled(tmp_path / "set", "pictures/cat/1.png", "pictures/dog/2.png", "__MACOSX/cat/._1.png")
    assert set(open_test_set(str(tmp_path / "set")).labels(None).values()) == {"cat", "dog"}
    filled(tmp_path / "all", "train/cat/1.png", "test/dog/2.png")
    assert open_test_set(str(tmp_path / "all")).labels(None) == {("test", "test/dog/2.png"): "dog"}


def test_a_linked_class_folder_is_followed_and_a_link_to_nothing_is_named(tmp_path: Path) -> None:
    folder = filled(tmp_path / "set", "cat/1.png", "all/2.png")
    filled(tmp_path / "elsewhere", "3.png")
    (folder / "dog").symlink_to(folder / "all", target_is_directory=True)
    (folder / "fox").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (folder / "owl").symlink_to(tmp_path / "nowhere")
    (folder / "cat" / "round").symlink_to(folder, target_is_directory=True)
    labels = FolderLabels(folder, "class")
    assert {row.label for row in labels.rows() if isinstance(row, ImportRow)} == {"cat", "all", "dog", "fox"}
    assert issues(labels) == [
        ("owl", "is a link that is not followed because its target is missing"),
        ("cat/round", "is a link that is not followed because it leads to one of its parent folders"),
    ]


def test_labels_in_a_linked_folder_are_those_of_the_photos_it_leads_to(tmp_path: Path) -> None:
    filled(tmp_path / "photos" / "day 1", "1.png", "2.png")
    sorted_out = tmp_path / "sorted"
    sorted_out.mkdir()
    (sorted_out / "cat").symlink_to(tmp_path / "photos" / "day 1", target_is_directory=True)
    with labeler(tmp_path) as service:
        outcome = take_rows(FolderLabels(sorted_out).rows(), sorted_out, service.imports.take)
        assert (outcome.counts["labels"], outcome.counts["rejected"]) == (2, 0)
        assert service.progress().labels_per_class["cat"] == 2


def test_a_folder_without_labels_says_in_one_sentence_what_it_needs(tmp_path: Path) -> None:
    flat = filled(tmp_path / "flat", "1.png", "2.png", "no_label/3.png")
    with pytest.raises(SettingsError) as refused:
        open_source(flat)
    assert str(refused.value).startswith(
        f"{flat} contains 3 photos but no labels: put the photos into one folder per class, such as "
        f"{flat}/shirt/1.jpg, or name a table with the columns image,label, such as labels.csv. "
    )
    (tmp_path / "empty").mkdir()
    with pytest.raises(SettingsError, match="empty contains no photos: put the photos into one folder per class"):
        open_source(tmp_path / "empty")
    with pytest.raises(SettingsError, match=r"such as .*/flat/train/shirt/1.jpg"):
        open_source(flat, layout="split/class")
    with pytest.raises(SettingsError, match=r"put its photos into one folder per class, such as .*/empty/shirt/1.jpg"):
        open_test_set(str(tmp_path / "empty"))
    assert ".." not in open_source(filled(tmp_path / "two", "cat/1.png", "2.png")).without_label("two")
