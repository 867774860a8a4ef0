"""An installed package runs like the checkout: the wheel contains pages, migrations and settings too."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("commands", "config", "labeler", "shared", "trainer")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names of the files in a wheel built from the checkout, without a separate build environment."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True)
    (built,) = folder.glob("*.whl")
    return set(zipfile.ZipFile(built).namelist())


def test_it_holds_every_file_of_every_package(wheel: set[str]) -> None:
    on_disk = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert on_disk - wheel == set()


@pytest.mark.parametrize(
    "pattern",
    [
        "flywheel.py",
        "config/*.toml",
        "labeler/ui/**/*.js",
        "labeler/ui/**/*.css",
        "labeler/ui/tasks/**/*.html",
        "labeler/ui/.streamlit/*",
        "labeler/store/migrations/*",
        "*/LICENSE",
    ],
)
def test_it_holds_what_is_not_a_module_of_a_package(wheel: set[str], pattern: str) -> None:
    assert [name for name in wheel if Path(name).match(pattern)]


def test_it_holds_nothing_else(wheel: set[str]) -> None:
    rooms = {name.split("/")[0] for name in wheel if ".dist-info/" not in name}
    assert rooms == {*PACKAGES, "flywheel.py"}
