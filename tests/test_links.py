"""Every relative link and every #anchor in the documents works, on GitHub and on the site."""

import re
import shutil
import subprocess
import sys
import tomllib
import unicodedata
from pathlib import Path

import pytest

HOME = Path(__file__).resolve().parent.parent
DOCS = HOME / "docs"
PAGES = [HOME / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted(DOCS.rglob("*.md"))
PLACES = ("benchmarks", "commands", "config", "labeler", "scripts", "shared", "tests", "trainer")


def _text(page: Path) -> str:
    """A page without its code blocks, in which brackets and # have other meanings."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def _headings(page: Path) -> list[str]:
    plain = [
        re.sub(r"\[([^]]*)\]\([^)]*\)|[`*]", r"\1", heading) for heading in re.findall(r"(?m)^#+ (.+)$", _text(page))
    ]
    return [heading.strip() for heading in plain]


def _on_github(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _on_the_site(heading: str) -> str:
    """The anchor of a heading, as Python-Markdown builds it."""
    ascii_only = unicodedata.normalize("NFKD", heading).encode("ascii", "ignore").decode()
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", ascii_only).strip().lower())


def _links(page: Path) -> list[tuple[str, str]]:
    found = re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)", _text(page))
    return [(target, anchor) for target, anchor in found if "://" not in target]


def test_links_are_found_with_their_anchors():
    found = _links(HOME / "README.md") + _links(DOCS / "concepts" / "overview.md")
    assert [target for target, _ in found if target.endswith(".md")]
    assert [anchor for page in PAGES for _, anchor in _links(page) if anchor]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(HOME)))
def test_links_and_anchors_lead_somewhere(page):
    for target, anchor in _links(page):
        led = (page.parent / target).resolve() if target else page
        assert led.exists(), f"{page.name} links to {target}"
        if anchor:
            assert anchor in map(_on_github, _headings(led)), f"{page.name} links to {target}#{anchor}"


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: str(page.relative_to(DOCS)))
def test_a_page_of_the_site_links_to_nothing_outside_it(page):
    for target, _ in _links(page):
        assert (page.parent / target).resolve().is_relative_to(DOCS), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: str(page.relative_to(DOCS)))
def test_headings_have_the_same_anchor_everywhere_and_once(page):
    anchors = [_on_github(heading) for heading in _headings(page)]
    assert anchors == [_on_the_site(heading) for heading in _headings(page)]
    assert len(set(anchors)) == len(anchors)


def test_code_names_documents_that_are_there():
    files = [path for place in PLACES for path in (HOME / place).rglob("*") if path.suffix in {".py", ".toml", ".js"}]
    files += [HOME / name for name in ("flywheel.py", "docker-compose.yml", "Dockerfile", "Makefile", "pyproject.toml")]
    named = {
        (path.name, name)
        for path in files
        for name in re.findall(r"\bdocs/[\w/]+\.(?:md|py|toml|json)\b", path.read_text(encoding="utf-8"))
    }
    assert sorted((where, name) for where, name in named if not (HOME / name).exists()) == []


def test_the_site_builds_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path):
    """Built like `make site`, but into a folder of the test."""
    shutil.copytree(DOCS, tmp_path / "docs")
    shutil.copy(HOME / "zensical.toml", tmp_path)
    command = [str(Path(sys.executable).with_name("zensical")), "build", "--strict"]
    built = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert built.returncode == 0, built.stdout + built.stderr
    pages = list((tmp_path / "build" / "site").rglob("*.html"))
    assert len(pages) == len(list(DOCS.rglob("*.md"))) + 1  # and the page of an address that is not there
    loaded = re.compile(
        r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"?(?:https?:)?//|<link\b[^>]*\bhref=\"?(?:https?:)?//"
    )
    assert [page.name for page in pages if loaded.search(page.read_text(encoding="utf-8"))] == []


def test_every_page_is_in_the_navigation():
    def pages(nav):
        for each in nav.values() if isinstance(nav, dict) else nav:
            yield from [each] if isinstance(each, str) else pages(each)

    nav = tomllib.loads((HOME / "zensical.toml").read_text(encoding="utf-8"))["project"]["nav"]
    assert sorted(pages(nav)) == sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(HOME)))
def test_code_that_a_page_names_is_there(page):
    named = re.findall(rf"`((?:{'|'.join(PLACES)})/[\w/.]+\.\w+)`", page.read_text(encoding="utf-8"))
    assert [path for path in named if not (HOME / path).exists() and not path.startswith("trainer/replica")] == []
