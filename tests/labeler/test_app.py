from pathlib import Path

import pytest

from labeler.app import main


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--bufer-size", "3"], "Did you mean 'buffer_size'?"),
        (["--buffer-size", "0"], "'buffer_size' (from the command line) cannot be '0'"),
        (["--images", "/does/not/exist"], "no such folder"),
        (["--images", "/", "--test-set", "/does/not/exist.csv"], "neither a folder nor a CSV file"),
        (["--host", "0.0.0.0"], "FLYWHEEL_TOKEN"),
        (["--config", "none.toml"], "none.toml"),
        (["stray"], "stray"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    argv: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("FLYWHEEL_TOKEN", raising=False)
    monkeypatch.chdir(tmp_path)
    assert main(["--port", "0", "--workspace", str(tmp_path / "w"), *argv]) == 2
    assert list(tmp_path.iterdir()) == []
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Flywheel labeler: ")]
    assert len(error) == 1
    assert message in error[0]


def test_help_lists_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "--buffer-size VALUE labels per batch. A full batch is sent at once (default: 10)" in text
