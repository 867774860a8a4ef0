from pathlib import Path

import pytest

from labeler.images.file_index import Files
from shared.images.opening import ImageLimits, ImageProblem
from tests.labeler.projects import photo

LIMITS = ImageLimits(max_bytes=10_000, max_pixels=1_000)


def files(tmp_path: Path) -> Files:
    for name in ("photos", "uploads"):
        (tmp_path / name).mkdir(exist_ok=True)
    return Files({"images": tmp_path / "photos", "uploads": tmp_path / "uploads"}, LIMITS)


def test_each_problem_of_a_file_has_its_reason(tmp_path: Path) -> None:
    photo(tmp_path / "photos" / "large.png", 1, (100, 100))
    photo(tmp_path / "photos" / "good.png", 1)
    looked_at = files(tmp_path)
    assert looked_at.look_at("images", "good.png").inspected is not None
    assert "pixels" in (looked_at.look_at("images", "large.png").reason or "")
    assert looked_at.look_at("images", "none.png").reason == "no longer exists"


def test_roots_of_given_paths(tmp_path: Path) -> None:
    roots = files(tmp_path)
    assert roots.uri_of("a/b.png") == ("images", "a/b.png")
    assert roots.uri_of(str(tmp_path / "photos" / "a.png")) == ("images", "a.png")
    assert roots.uri_of(f"file://{tmp_path}/uploads/x.png") == ("uploads", "x.png")
    for outside in ("/etc/passwd", str(tmp_path / "photos" / ".." / "a.png")):
        with pytest.raises(ImageProblem, match="outside"):
            roots.uri_of(outside)


def test_an_upload_is_kept_by_its_content(tmp_path: Path) -> None:
    data = photo(tmp_path / "a.png", 3).read_bytes()
    found = files(tmp_path).store_upload(data)
    assert found.inspected is not None
    assert found.uri == f"{found.inspected.sha256[:2]}/{found.inspected.sha256}.png"
    assert (tmp_path / "uploads" / found.uri).read_bytes() == data
    with pytest.raises(ImageProblem, match="is empty"):
        files(tmp_path).store_upload(b"")
    with pytest.raises(ImageProblem, match="max_image_bytes"):
        files(tmp_path).store_upload(b"x" * 10_001)


def test_an_upload_keeps_its_name(tmp_path: Path) -> None:
    roots = files(tmp_path)
    one, other = (photo(tmp_path / f"{shade}.png", shade).read_bytes() for shade in (3, 4))
    for given, uri in {
        "cat.png": "cat.png",
        "trip/day 1/cat.png": "trip/day 1/cat.png",
        "C:\\trip\\dog.PNG": "C:/trip/dog.PNG",
        "../../.ssh/./key": "ssh/key.png",
        "a\nb.png": "a_b.png",
    }.items():
        assert roots.store_upload(one, given).uri == uri
        assert (tmp_path / "uploads" / uri).read_bytes() == one
    again, second = roots.store_upload(one, "cat.png"), roots.store_upload(other, "cat.png")
    assert second.inspected is not None
    assert (again.uri, second.uri) == ("cat.png", f"cat-{second.inspected.sha256[:12]}.png")
    assert (tmp_path / "uploads" / "cat.png").read_bytes() == one
    for impossible in ("x" * 300 + ".png", "cat.png/below.png", "/..", "\0"):
        found = roots.store_upload(other, impossible)
        assert (tmp_path / "uploads" / found.uri).read_bytes() == other
    assert not any(path.name == "key" for path in tmp_path.iterdir())


def test_files_that_the_labeler_wrote_are_not_listed(tmp_path: Path) -> None:
    for name in ("a.png", "workspace/thumbnails/t.png", "workspace2/b.png"):
        photo(tmp_path / name, 1)
    files = Files({"images": tmp_path}, LIMITS, tmp_path / "workspace")
    assert [uri for uri, _ in files.listed("images")] == ["a.png", "workspace2/b.png"]
    demo = Files({"images": tmp_path / "workspace" / "thumbnails"}, LIMITS, tmp_path / "workspace")
    assert list(demo.listed("images")) == [("t.png", None)]


def test_an_upload_of_a_long_name_keeps_it(tmp_path: Path) -> None:
    roots = files(tmp_path)
    one, other = (photo(tmp_path / f"{shade}.png", shade).read_bytes() for shade in (1, 2))
    for name in ("ж" * 125 + ".png", "猫" * 83 + ".png"):  # 254 and 253 bytes
        assert roots.store_upload(one, name).uri == name
        second = roots.store_upload(other, name).uri
        assert second.startswith(name[:50])
        assert second.endswith(".png")
        assert second != name
