"""Guidelines for annotators: kept, and shown without anything that a browser would run or fetch."""

from pathlib import Path

import pytest

from labeler.errors import Conflict
from labeler.labeling.guidelines import rendered
from shared.wire.project import GuidelinesPatch
from tests.labeler.projects import labeler, photos


def test_they_are_kept_and_a_change_has_another_mark(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 1)
    with labeler(tmp_path) as service:
        assert (service.guidelines.view.text, service.guidelines.view.mark) == ("", "")
        first = service.guidelines.change(GuidelinesPatch(text="  *Cats* have whiskers. ", annotator="ann"))
        assert service.state.change_markers()["guidelines"] == first.mark != ""
        with pytest.raises(Conflict, match="ann changed"):
            service.guidelines.change(GuidelinesPatch(text="Other", annotator="bob", as_of=""))
    with labeler(tmp_path) as service:
        assert service.guidelines.view == first
        assert (first.text, first.html) == ("*Cats* have whiskers.", "<p><em>Cats</em> have whiskers.</p>\n")
        gone = service.guidelines.change(GuidelinesPatch(text="", as_of=first.mark))
        assert (gone.html, gone.mark) == ("", "")


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "text <img src=x onerror=alert(1)> text",
        "<a href='javascript:alert(1)'>x</a>",
        "![x](https://example.org/x.png)",
        "![x][1]\n\n[1]: https://example.org/x.png",
        "<svg onload=alert(1)>",
    ],
)
def test_markup_is_text_and_no_host_is_asked(text: str) -> None:
    html = rendered(text)
    for tag in ("<script", "<img", "<svg", "<iframe"):
        assert tag not in html
    assert "<a href='javascript" not in html


@pytest.mark.parametrize("address", ["javascript:alert(1)", "vbscript:x", "data:text/html,x", "file:///etc/passwd"])
def test_a_link_runs_nothing(address: str) -> None:
    assert "<a" not in rendered(f"[x]({address}) <{address}>")


def test_a_link_leaves_the_page_open() -> None:
    html = rendered("[rules](https://example.org/a?b=1&c=2)")
    assert html == (
        '<p><a href="https://example.org/a?b=1&amp;c=2" target="_blank" rel="noopener noreferrer">rules</a></p>\n'
    )
