import os
import random
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from shared.images.finding import Passed, find_images, is_image_file, locate, read
from shared.images.opening import ImageLimits, ImageProblem
from tests.disks import no_more_files

LIMITS = ImageLimits(max_bytes=1_000_000, max_pixels=4_000_000)


def encoded(form: str) -> bytes:
    stream = BytesIO()
    Image.new("RGB", (60, 40), (200, 30, 30)).save(stream, form)
    return stream.getvalue()


FORMS = {form: encoded(form) for form in ("JPEG", "PNG")}


def test_a_folder_is_not_left_out_for_want_of_open_files(tmp_path: Path) -> None:
    for name in ("a.png", "b/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(FORMS["PNG"])
    passed = Passed()
    found = find_images(tmp_path, passed)
    assert next(found) == "a.png"
    with no_more_files(), pytest.raises(ImageProblem, match="Too many open files"):
        next(found)
    assert not passed.unread


def test_images_are_found_sorted_in_all_folders_and_nothing_else(tmp_path: Path) -> None:
    names = ["a/1.jpg", "a/b/2.PNG", "a-b.jpg", "a.jpg", "Z.webp", "ü 😀 'x' \"y\".tif", "d" * 246 + ".gif"]
    for name in [*names, "a/notes.txt", ".hidden.jpg", ".git/x.jpg", "__MACOSX/._a.jpg"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(FORMS["PNG"])
    for name in ("noend", "jpg"):
        (tmp_path / name).write_text("no image")
    (tmp_path / "folder.jpg").mkdir()
    assert list(find_images(tmp_path)) == sorted(names)
    for name in names:
        assert read(name, tmp_path, LIMITS) == FORMS["PNG"]


def test_walking_takes_a_folder_at_a_time(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "x.jpg").touch()
    found = find_images(tmp_path)
    assert next(found) == "0/x.jpg"
    (tmp_path / "2" / "later.jpg").touch()
    assert list(found) == ["1/x.jpg", "2/later.jpg", "2/x.jpg"]


def test_a_missing_folder_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ImageProblem, match="is not a folder"):
        list(find_images(tmp_path / "nowhere"))


def test_links_are_not_walked_in_circles_and_do_not_lead_out(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret.jpg").write_bytes(FORMS["JPEG"])
    (root / "real.jpg").write_bytes(FORMS["JPEG"])
    (root / "again.jpg").symlink_to("real.jpg")
    (root / "out.jpg").symlink_to(tmp_path / "secret.jpg")
    (root / "round.jpg").symlink_to("round.jpg")
    (root / "gone.jpg").symlink_to("nowhere.jpg")
    (root / "loop").symlink_to(root, target_is_directory=True)
    (root / "up").symlink_to(tmp_path, target_is_directory=True)
    (root / "void").symlink_to(tmp_path / "nowhere", target_is_directory=True)
    passed = Passed()
    assert list(find_images(root, passed)) == ["again.jpg", "gone.jpg", "out.jpg", "real.jpg", "round.jpg"]
    assert passed.links == {
        "it leads to one of its parent folders": ["loop"],
        "it leads outside the image folder": ["up"],
        "its target is missing": ["void"],
    }
    assert read("again.jpg", root, LIMITS) == FORMS["JPEG"]
    for uri, problem in {
        "out.jpg": "outside the image folder",
        "up/secret.jpg": "outside the image folder",
        "round.jpg": "cannot be read|not there",
        "gone.jpg": "no longer exists",
    }.items():
        with pytest.raises(ImageProblem, match=problem):
            read(uri, root, LIMITS)


def test_links_are_followed_inside_and_into_other_roots(tmp_path: Path) -> None:
    root, other = tmp_path / "root", tmp_path / "other"
    for folder in (root / "all" / "deep", other):
        folder.mkdir(parents=True)
        (folder / "1.jpg").write_bytes(FORMS["JPEG"])
    (root / "cat").symlink_to("all", target_is_directory=True)
    (root / "dog").symlink_to(other, target_is_directory=True)
    (root / "fox.jpg").symlink_to(other / "1.jpg")
    assert list(find_images(root)) == ["all/deep/1.jpg", "cat/deep/1.jpg", "fox.jpg"]
    assert list(find_images(root, also=[other])) == ["all/deep/1.jpg", "cat/deep/1.jpg", "dog/1.jpg", "fox.jpg"]
    for uri in ("cat/deep/1.jpg", "dog/1.jpg", "fox.jpg"):
        assert read(uri, root, LIMITS, [other]) == FORMS["JPEG"]
    with pytest.raises(ImageProblem, match="outside the image folder"):
        read("dog/1.jpg", root, LIMITS)


def test_folders_that_link_to_each_other_come_to_an_end(tmp_path: Path) -> None:
    for name in "abcdefgh":
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.jpg").touch()
        for other in "abcdefgh":
            (tmp_path / name / f"to {other}").symlink_to(tmp_path / other, target_is_directory=True)
    passed = Passed()
    assert {uri.rsplit("/", 1)[-1] for uri in find_images(tmp_path, passed)} == {"1.jpg"}
    assert set(passed.links) == {"it leads to one of its parent folders", "another link leads there"}


# ---------------------------------------------------------------- which files are images


@pytest.mark.parametrize("name", ["a.jfif", "a.jpe", "A.HEIC", "a.avif", "a.ppm", "a.jp2", "noending", "a.v2", "IMG_1"])
def test_a_file_is_an_image_by_its_content(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(FORMS["JPEG"])
    assert list(find_images(tmp_path)) == [name]
    assert is_image_file(tmp_path / name)


def test_other_files_are_counted_by_their_ending(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt", "c.json", "README", "d.bin"):
        (tmp_path / name).write_bytes(b"no image")
    (tmp_path / "empty").touch()
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
    passed = Passed()
    assert list(find_images(tmp_path, passed)) == []
    assert passed.others == {".txt": 2, ".json": 1, ".bin": 1, "no extension": 3}
    (told,) = passed.sentences()
    assert told.startswith("7 other files are not images: no extension (3), .txt (2)")


def test_an_image_that_cannot_be_read_is_listed_to_be_named(tmp_path: Path) -> None:
    (tmp_path / "a.psd").write_bytes(b"8BPS\0\1")
    (tmp_path / "b").write_bytes(b"8BPS\0\1")
    (tmp_path / "c.heic").write_bytes(b"not at all")
    assert list(find_images(tmp_path)) == ["a.psd", "b", "c.heic"]


@pytest.mark.parametrize(
    "name", ["__MACOSX", "__macosx", "@eaDir", "#recycle", "$RECYCLE.BIN", "Thumbs", ".thumbnails"]
)
def test_files_of_storage_devices_are_left_out_and_counted(tmp_path: Path, name: str) -> None:
    for folder in (tmp_path / name, tmp_path / "cat" / name):
        folder.mkdir(parents=True)
        (folder / "1.jpg").write_bytes(FORMS["JPEG"])
    passed = Passed()
    assert list(find_images(tmp_path, passed)) == []
    assert passed.sentences() == [f"Skipped system files: {name}/ (2)."]


@pytest.mark.parametrize(
    ("uri", "problem"),
    [
        ("../../etc/passwd", "outside the image folder"),
        ("a/../../../etc/passwd", "outside the image folder"),
        ("/etc/passwd", "outside the image folder"),
        ("file:///etc/passwd", "is a web address"),
        ("http://127.0.0.1:3333/status", "is a web address"),
        ("S3://bucket/key.jpg", "is a web address"),
        ("", "is not a file"),
        (".", "is not a file"),
        ("sub", "is not a file"),
        ("nowhere.jpg", "no longer exists"),
        ("a.jpg/b.jpg", "cannot be read|no longer exists"),
        ("nul\0byte.jpg", "cannot be read"),
        ("x" * 5_000, "cannot be read"),
        ("lone\ud800surrogate.jpg", "cannot be read"),
    ],
)
def test_a_uri_that_names_no_file_of_the_folder_is_refused(tmp_path: Path, uri: str, problem: str) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.jpg").write_bytes(FORMS["JPEG"])
    with pytest.raises(ImageProblem, match=problem):
        locate(uri, tmp_path)


HERE = Path(__file__).resolve()
PARTS = st.sampled_from(["..", ".", "", "/", "x", HERE.name, HERE.parent.name, str(HERE)])


@given(st.text(max_size=40) | st.lists(PARTS, max_size=4).map("/".join))
@example(HERE.name)
@example(f"./{HERE.name}")
@example(f"../{HERE.parent.name}/{HERE.name}")
@example(str(HERE))
def test_a_uri_is_a_file_inside_the_folder_or_an_image_problem(uri: str) -> None:
    try:
        found = locate(uri, HERE.parent)
    except ImageProblem:
        assert uri not in (HERE.name, f"./{HERE.name}")
    else:
        assert found.is_relative_to(HERE.parent)
        assert found.is_file()
        assert not {"..", "/"} & set(Path(uri).parts)


@pytest.mark.skipif(os.name != "posix", reason="file names are bytes on POSIX alone")
def test_a_name_that_is_not_utf_8_is_listed_and_refused_with_advice(tmp_path: Path) -> None:
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jpg")).write_bytes(FORMS["JPEG"])
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    (uri,) = find_images(tmp_path)
    assert uri.encode("utf-8") == rb"caf\udce9.jpg"
    with pytest.raises(ImageProblem, match="rename the file"):
        read(uri, tmp_path, LIMITS)


def test_a_file_that_vanished_was_emptied_or_grew_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(FORMS["JPEG"])
    assert read("a.jpg", tmp_path, LIMITS) == FORMS["JPEG"]
    path.write_bytes(b"")
    with pytest.raises(ImageProblem, match="is empty"):
        read("a.jpg", tmp_path, LIMITS)
    path.write_bytes(random.Random(0).randbytes(LIMITS.max_bytes + 1))
    with pytest.raises(ImageProblem, match="more than 1,000,000 bytes"):
        read("a.jpg", tmp_path, LIMITS)
    path.unlink()
    with pytest.raises(ImageProblem, match="no longer exists"):
        read("a.jpg", tmp_path, LIMITS)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ImageProblem, match="is not a file"):
        read("pipe.jpg", tmp_path, LIMITS)
