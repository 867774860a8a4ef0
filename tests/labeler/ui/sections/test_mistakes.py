"""Pictures of where a detector and people differ: of training images alone, once somebody asks for them."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from labeler.ui.sections import mistakes
from shared.wire.review import Place, ReviewItem
from tests.labeler.projects import labeler, photos


def item(kind: str, **more: object) -> ReviewItem:
    given = {
        "image_id": 7,
        "url": "/api/image/7/thumbnail",
        "label": 1,
        "label_name": "cat",
        "proposed": 2,
        "proposed_name": "<dog>",
        "confidence": 0.8,
        "confident": True,
        "agreeing": 0,
        "neighbours": 0,
        "evidence": [],
        "kind": kind,
        "box": Place(x=50, y=25, w=100, h=50),
        "at": Place(x=50, y=25, w=20, h=10),
        "kept": {"boxes": [{"label": 1, "x": 0, "y": 0, "w": 20, "h": 10, "origin": "drawn"}]},
        "width": 200,
        "height": 100,
        **more,
    }
    return ReviewItem.model_validate(given)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("missing", "finds &lt;dog&gt; where nobody drew a box (80%)"),
        ("class", "finds &lt;dog&gt; (80%), labeled cat"),
        ("place", "finds cat in another place (80%)"),
    ],
)
def test_a_picture_has_both_boxes_and_says_how_they_differ(kind: str, words: str) -> None:
    drawn = mistakes.tile(item(kind))
    assert f"The detector {words}." in drawn
    assert "<dog>" not in drawn
    assert "left:25.000%; top:25.000%; width:50.000%; height:50.000%; border:3px dashed" in drawn
    assert "left:0.000%; top:0.000%; width:10.000%; height:10.000%; border:1px solid" in drawn


def test_one_picture_has_all_missed_boxes_of_an_image() -> None:
    missed = [item("missed", label_name=name, confidence=0.1) for name in ("<a>", "b", "c", "d", "e")]
    drawn = mistakes.missed_tile(missed)
    assert "The detector misses &lt;a&gt; (10%), b (10%), c (10%) and 2 more." in drawn
    assert drawn.count("border:3px dotted") == 5
    assert drawn.count("border:1px solid") == 1
    assert "dashed" not in drawn


def script() -> None:
    from labeler.ui.sections import mistakes

    mistakes.section()


@pytest.mark.parametrize("blind", [False, True])
def test_nothing_is_looked_for_before_somebody_asks_and_nothing_in_blind_mode(tmp_path: Path, blind: bool) -> None:
    photos(tmp_path / "photos", 1)
    with labeler(tmp_path, task="detection", blind_mode=blind):
        page = AppTest.from_function(script, default_timeout=60).run()
        assert not page.exception
        assert len(page.button) == (0 if blind else 1)
        if blind:
            assert "Hidden in blind mode" in page.caption[0].value
            return
        page.button[0].click().run()
        assert not page.exception
        assert page.warning  # there is no trainer: it says so
