from pathlib import Path

import pytest

from labeler.errors import Invalid
from labeler.live_settings import RunningSettings
from shared.settings.starting import start
from tests.labeler.projects import answer, asked, labeler, photos, settings


def test_show_and_change(tmp_path: Path) -> None:
    changes: list[set[str]] = []
    held = settings(tmp_path, database_url="postgresql+psycopg://me:secret@db/flywheel")
    running = RunningSettings(held, {"images": "file"}, changes.append)
    shown = running.show()
    assert set(shown) == set(type(held).model_fields)
    assert "secret" not in str(shown)
    assert (shown["images"].source, shown["port"].changeable) == ("file", False)
    after = running.change({"buffer_size": 20, "overlap": 1})
    assert (held.buffer_size, after["buffer_size"].source) == (20, "changed while running")
    assert changes == [{"buffer_size"}]
    assert {name for name, entry in shown.items() if entry.changeable} == {
        *("buffer_size", "buffer_seconds", "lease_seconds", "overlap", "read_ahead", "max_unconfirmed"),
        *("blind_mode", "preselect_suggestions", "test_order", "trainer_url", "log_level"),
    }


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        ({"port": 1}, "'port' cannot change while the service runs"),
        ({"bufer_size": 1}, "no labeler setting 'bufer_size'"),
        ({"buffer_size": 5, "overlap": 0}, "'overlap' cannot be 0"),
        ({"trainer_url": "nowhere"}, "'trainer_url' cannot be 'nowhere'"),
        ({"trainer_url": "http://192.0.2.1:3333"}, "an address of this machine.* --trainer-url"),
        ({"trainer_url": "http://localhost.evil.example:3333"}, "an address of this machine"),
        ({"trainer_url": "http://127.0.0.1:3333@evil.example"}, "an address of this machine"),
        ({"buffer_size": 5, "trainer_url": "http://[::ffff:192.0.2.1]:3333"}, "an address of this machine"),
    ],
)
def test_refusals_change_nothing(tmp_path: Path, patch: dict[str, object], message: str) -> None:
    held = settings(tmp_path)
    before = held.model_dump()
    with pytest.raises(Invalid, match=message):
        RunningSettings(held, {}, lambda _: None).change(patch)
    assert held.model_dump() == before


def test_no_request_sends_the_token_elsewhere(tmp_path: Path) -> None:
    held = settings(tmp_path)
    running = RunningSettings(held, {}, lambda _: None, has_token=True)
    for url in ("http://evil.example:3333", "http://127.0.0.1:9999", held.trainer_url):
        with pytest.raises(Invalid, match="the token is sent there: start the labeler again with --trainer-url"):
            running.change({"trainer_url": url})
    assert not running.show()["trainer_url"].changeable
    assert running.change({"buffer_size": 25})["buffer_size"].value == 25


def test_overlap_opens_images_again(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 1)
    with labeler(tmp_path) as service:
        service.annotate([answer(1)])
        assert asked(service, "bob") == []
        service.running.change({"overlap": 2, "trainer_url": "http://127.0.0.1:10"})
        assert asked(service, "bob") == [1]
        assert service.trainer.view().url == "http://127.0.0.1:10"


def test_a_changed_setting_holds_at_the_next_start(tmp_path: Path) -> None:
    held = settings(tmp_path)
    RunningSettings(held, {}, lambda _: None).change({"buffer_size": 25, "blind_mode": True})
    begun = start(type(held), command_line={"workspace": str(held.workspace), "images": held.images})
    assert (begun.settings.buffer_size, begun.settings.blind_mode) == (25, True)
    shown = RunningSettings(begun.settings, begun.sources, lambda _: None).show()
    assert shown["buffer_size"].source == "changed while running"


def test_a_change_that_cannot_be_kept_is_refused(tmp_path: Path) -> None:
    held = settings(tmp_path)
    held.workspace.write_text("a file in the way")
    with pytest.raises(Invalid, match=r"project\.toml cannot be written"):
        RunningSettings(held, {}, lambda _: None).change({"buffer_size": 25})
    assert held.buffer_size == 10
