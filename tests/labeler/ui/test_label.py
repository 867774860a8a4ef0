"""The form of the first classes on the page Label."""

from __future__ import annotations

from pathlib import Path

from streamlit.testing.v1 import AppTest

from tests.labeler.projects import labeler, photos


def script() -> None:
    from labeler import service
    from labeler.ui import label

    label._name_classes(service.current(), "")


def test_a_class_that_somebody_else_added_meanwhile_costs_no_other(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 1)
    with labeler(tmp_path, classes=[]) as service:
        page = AppTest.from_function(script, default_timeout=60).run()
        service.classes.add("Dog", "ann")
        page.text_area[0].set_value("cat\n" + 101 * "x")
        page.button[0].click().run()
        assert "has 101 characters, and a class name has at most 100" in page.error[0].value
        page.text_area[0].set_value("cat\ndog\nbird")
        page.button[0].click().run()
        assert not page.exception
        assert not page.error
        assert [each.name for each in service.classes.entries()] == ["Dog", "cat", "bird"]
