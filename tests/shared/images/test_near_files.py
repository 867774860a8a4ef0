import os
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.images.finding import read
from shared.images.near_files import NearFiles
from shared.images.opening import ImageLimits, ImageProblem
from tests.disks import no_more_files

LIMITS = ImageLimits(max_bytes=1_000, max_pixels=1_000)
pytestmark = pytest.mark.skipif(os.open not in os.supports_dir_fd, reason="a folder cannot be kept open here")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with files of all kinds, and links to files and folders inside and outside."""
    base = tmp_path_factory.mktemp("near")
    root, outside = base / "photos", base / "outside"
    for name in ("a.jpg", "b.jpg", "sub/a.jpg", "sub/deep/c.jpg"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    outside.mkdir()
    (outside / "secret.jpg").write_bytes(b"secret")
    (root / "empty.jpg").touch()
    (root / "large.jpg").write_bytes(bytes(LIMITS.max_bytes + 1))
    (root / "link.jpg").symlink_to(root / "a.jpg")
    (root / "out.jpg").symlink_to(outside / "secret.jpg")
    (root / "out").symlink_to(outside)
    (root / "in").symlink_to(root / "sub")
    (root / "circle").symlink_to(root / "circle")
    os.mkfifo(root / "pipe.jpg")
    return root


KINDS = ["a", "b", "c", "empty", "large", "link", "out", "pipe", "secret"]
NAMES = st.lists(st.sampled_from(KINDS).map("{}.jpg".format), min_size=1)
FOLDERS = st.sampled_from(["", "sub/", "sub/deep/", "in/", "in/deep/", "out/", "circle/", "./", "../outside/", "gone/"])
URIS = st.lists(st.tuples(FOLDERS, NAMES).map(lambda some: [some[0] + name for name in some[1]]), max_size=4)


@given(URIS)
@example([["a.jpg", "..", ".", "", "sub", "a.jpg/", "nul\0.jpg", "http://x/a.jpg"], ["/a.jpg"], ["sub//a.jpg"]])
def test_a_file_is_read_as_by_itself_or_left_to_that(folder: Path, uris: list[list[str]]) -> None:
    with NearFiles(folder, LIMITS) as near:
        for uri in (uri for some in uris for uri in some):
            found = near.read(uri)
            if found is None:
                continue
            assert found.data == read(uri, folder, LIMITS)
            status = (folder / uri).stat()
            assert (found.size, found.mtime_ns) == (status.st_size, status.st_mtime_ns)


def test_ordinary_files_are_read_and_each_folder_is_resolved_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolved: list[str] = []
    realpath = os.path.realpath

    def counted(path: str, *, strict: bool = False) -> str:
        resolved.append(str(path))
        return realpath(path, strict=strict)

    monkeypatch.setattr(os.path, "realpath", counted)
    names = ["a.jpg", "b.jpg", "sub/a.jpg", "sub/a.jpg", "sub/deep/c.jpg"]
    with NearFiles(folder, LIMITS) as near:
        assert [(found := near.read(name)) and found.data for name in names] == [name.encode() for name in names]
    assert len(resolved) == 6  # the root and the folder, for three folders


def test_a_link_leads_into_another_root_only(folder: Path) -> None:
    outside = folder.parent / "outside"
    with NearFiles(folder, LIMITS) as near:
        assert near.read("out/secret.jpg") is None
        assert near.read("out.jpg") is None
    with NearFiles(folder, LIMITS, also=[outside]) as near:
        assert (found := near.read("out/secret.jpg")) is not None
        assert found.data == b"secret"


def test_what_happens_to_a_folder_meanwhile_is_left_to_the_careful_way(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name in ("1.jpg", "2.jpg", "3.jpg"):
        (tmp_path / "a" / name).write_bytes(b"x")
    with NearFiles(tmp_path, LIMITS) as near:
        assert near.read("a/1.jpg") is not None
        (tmp_path / "a" / "2.jpg").unlink()
        assert near.read("a/2.jpg") is None
        with no_more_files():
            assert near.read("a/3.jpg") is None
        assert near.read("a/3.jpg") is not None
    with pytest.raises(ImageProblem, match="no longer exists"):
        read("a/2.jpg", tmp_path, LIMITS)


def test_no_folder_stays_open(folder: Path) -> None:
    open_files = Path("/proc/self/fd")
    if not open_files.is_dir():
        pytest.skip("this system does not list open files")
    before = len(list(open_files.iterdir()))
    with NearFiles(folder, LIMITS) as near:
        for name in ("a.jpg", "sub/a.jpg", "large.jpg", "pipe.jpg", "gone/a.jpg", "sub/deep/c.jpg"):
            near.read(name)
    assert len(list(open_files.iterdir())) == before
