import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shared.settings.services import SettingsError, TrainerSettings
from trainer.embeddings.precomputed import OwnVectors

URIS = ["B.png", "a/1.png", "a/2.png", "b.png"]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    for uri in URIS:
        (root / uri).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(root / uri)
    return root


def load(path: Path, images: Path | None, **more: object) -> OwnVectors:
    given = {"embeddings": str(path), "images": str(images or ""), **more}
    return OwnVectors.load(TrainerSettings.load(command_line=given)[0])


def named(path: Path, names: list[str], rows: int | None = None) -> Path:
    np.savez(path, v=np.arange(rows or len(names), dtype=np.float64)[:, None], filename=np.array(names))
    return path


def bare(path: Path, rows: int) -> Path:
    np.save(path, np.arange(rows)[:, None])
    return path


def test_without_names_row_i_belongs_to_the_i_th_uri_in_sorted_order(tmp_path, images):
    (images / "notes.txt").write_text("no image")
    (images / ".hidden.png").write_bytes(b"")
    own = load(bare(tmp_path / "v.npy", 4), images)
    found = own.vectors(["b.png", "a/1.png", "B.png", "a/2.png"])
    assert (found.tolist(), str(found.dtype), own.dim) == ([[3], [1], [0], [2]], "float32", 1)
    assert (own.has("a/2.png"), own.has("later.png")) == (True, False)


def test_with_names_the_order_does_not_matter(tmp_path, images):
    own = load(named(tmp_path / "v.npz", ["b.png", "elsewhere.png", "a/2.png"]), images)
    assert own.vectors(["a/2.png", "b.png"]).tolist() == [[2], [0]]
    assert not own.has("a/1.png")


def test_another_spelling_of_a_name_is_the_same_image(tmp_path, images):
    nfc, nfd = (unicodedata.normalize(form, "é.png") for form in ("NFC", "NFD"))
    Image.new("RGB", (4, 4)).save(images / nfd)
    own = load(named(tmp_path / "v.npz", [nfc, "a\\1.png", "b.png"]), images)
    assert own.vectors([nfd, "a/1.png", "b.png"]).tolist() == [[0], [1], [2]]


def test_a_bare_file_name_is_enough_if_it_is_unique(tmp_path, images):
    own = load(named(tmp_path / "v.npz", ["2.png", "b.png"]), images)
    assert own.vectors(["a/2.png", "b.png"]).tolist() == [[0], [1]]
    (images / "c").mkdir()
    Image.new("RGB", (4, 4)).save(images / "c" / "b.png")  # the file means b.png in the folder itself
    assert not load(tmp_path / "v.npz", images).has("c/b.png")
    Image.new("RGB", (4, 4)).save(images / "c" / "2.png")
    with pytest.raises(SettingsError, match=r"'2\.png', which may be 'a/2.png' or 'c/2.png'"):
        load(tmp_path / "v.npz", images)


def test_where_the_folder_cannot_be_read_names_are_uris(tmp_path):
    own = load(named(tmp_path / "v.npz", ["a/1.png"]), None)
    assert (own.has("a/1.png"), own.has("1.png")) == (True, False)


def test_the_key_changes_with_content_and_matching_and_not_with_the_path(tmp_path, images):
    first = load(bare(tmp_path / "v.npy", 4), images).key
    assert load((tmp_path / "v.npy").rename(tmp_path / "moved.npy"), images).key == first
    np.save(tmp_path / "v.npy", np.ones((4, 1)))
    second = load(tmp_path / "v.npy", images).key
    (images / "b.png").rename(images / "0.png")
    third = load(tmp_path / "v.npy", images).key
    assert len({first, second, third}) == 3


def nan_in_row_2(path: Path) -> Path:
    matrix = np.ones((4, 3), np.float32)
    matrix[2, 1] = np.nan
    np.save(path, matrix)
    return path


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda folder: folder / "no.npy", "no.npy, which does not exist"),
        (lambda folder: bare(folder / "v.npy", 3), "contains 3 vectors without names, but there are 4 image files in"),
        (lambda folder: named(folder / "v.npz", ["b.png", "b.png"]), "two vectors for 'b.png'"),
        (
            lambda folder: named(folder / "v.npz", ["x.png", "y.png"]),
            "its first name is 'x.png', the first image is 'B.png'",
        ),
        (lambda folder: named(folder / "v.npz", ["b.png"], rows=2), "1 names but 2 vectors"),
        (lambda folder: nan_in_row_2(folder / "v.npy"), "in row 2"),
    ],
)
def test_a_file_that_does_not_fit_gives_one_sentence_that_names_the_setting(tmp_path, images, make, sentence):
    with pytest.raises(SettingsError, match=f"'embeddings' names .*{sentence}") as told:
        load(make(tmp_path), images)
    assert "\n" not in str(told.value)


def test_other_settings_that_it_depends_on_are_named(tmp_path, images):
    path = bare(tmp_path / "v.npy", 4)
    with pytest.raises(SettingsError, match="set the image folder as 'images'"):
        load(path, None)
    with pytest.raises(SettingsError, match=r"'images' is .*nowhere"):
        load(path, tmp_path / "nowhere")
    for other in ({"backbone": "pixels"}, {"model_fn": "a:b"}, {"backbone_weights": "w.pth"}):
        with pytest.raises(SettingsError, match="leave 'backbone' at 'auto'"):
            load(path, images, **other)
