"""What the page Data says of files that are missing, left out or cannot be used."""

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from labeler.ui.parts.wording import plain
from tests.labeler.projects import answer, labeler, photos


def page() -> None:
    from labeler.ui import data

    data.page()


def test_the_page_shows_what_happened_to_files(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos", 3)
    (folder / "__MACOSX").mkdir()
    (folder / "a *b*.psd").write_bytes(b"8BPS\0\1")
    with labeler(tmp_path) as service:
        service.annotate([answer(1)])
        (folder / "0000.png").unlink()
        service.scanner.start()
        service.scanner.wait(30)
        app = AppTest.from_function(page, default_timeout=30).run()
        assert not app.exception
        assert [each.label for each in app.expander][:3] == [
            "The files of 1 labeled photo are missing",
            "Skipped in the image folders",
            "1 file cannot be used",
        ]
        missing, rejected = (each.value.to_dict("records")[0] for each in app.table[:2])
        assert missing["File"] == plain("0000.png")
        assert rejected["File"] == plain("a *b*.psd")  # a name, and no bold
        assert rejected["Reason"] == plain("is a Photoshop file, which is not supported: save it as JPEG or PNG")
        assert any(plain("__MACOSX/") in each.value for each in app.markdown)


def test_the_page_does_not_speak_of_itself_as_of_another(tmp_path: Path) -> None:
    (folder := tmp_path / "photos").mkdir()
    with labeler(tmp_path) as service:
        app = AppTest.from_function(page, default_timeout=30).run()
        assert next(each.value for each in app.info).endswith("Or add some above.")
        (folder / "a.psd").write_bytes(b"8BPS\0\1")
        service.scanner.start()
        service.scanner.wait(30)
        said = [each.value for each in app.run().warning]
        assert "**No image can be used.** 1 file of the image folder cannot be used, for the reasons below." in said


@pytest.mark.parametrize("images", ["", "photos"])
def test_the_demo_does_not_invite_photos(tmp_path: Path, images: str) -> None:
    photos(tmp_path / "photos", 1)
    with labeler(tmp_path, images=images and str(tmp_path / images)):
        app = AppTest.from_function(page, default_timeout=30).run()
        assert not app.exception
        mounted = [each.key for each in app.get("bidi_component")]
        assert ("add" in mounted) == bool(images)
        assert any("flywheel up PHOTOS" in each.value for each in app.info) == (not images)
        assert bool(app.text_input) == bool(images)
