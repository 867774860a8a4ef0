import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from labeler.app import main
from tests.labeler.projects import NOBODY, photos

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--bufer-size", "3"], "Did you mean 'buffer_size'?"),
        (["--buffer-size", "0"], "'buffer_size' (from the command line) cannot be '0'"),
        (["--images", "/does/not/exist"], "no such folder"),
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
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Flywheel labeler: ")]
    assert len(error) == 1
    assert message in error[0]


def test_help_lists_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "--buffer-size VALUE labels per batch. A full batch is sent at once (default: 10)" in text


@pytest.mark.parametrize("start", [["-m", "labeler"], ["labeler/app.py"]])
def test_a_real_process(start: list[str], tmp_path: Path) -> None:
    photos(tmp_path / "photos", 2)
    given = {"--port": "0", "--workspace": str(tmp_path / "w"), "--images": str(tmp_path / "photos")}
    argv = [sys.executable, *start, *(part for pair in given.items() for part in pair), "--trainer-url", NOBODY]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FLYWHEEL_")}
    with subprocess.Popen(argv, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            ready = re.fullmatch(r"Labeler ready at (http://127\.0\.0\.1:\d+)\n", process.stdout.readline())
            assert ready is not None
            with httpx.Client(base_url=ready[1]) as client:
                assert client.get("/api/health").json()["status"] == "ok"
                assert client.get("/").headers["content-type"].startswith("text/html")
                foreign = client.get("/api/project", headers={"Host": "example.org"})
                assert foreign.status_code == 403
        finally:
            process.send_signal(signal.SIGTERM)
    assert process.returncode in (0, -signal.SIGTERM, 128 + signal.SIGTERM)
    assert "GET /" not in (tmp_path / "w" / "logs" / "labeler.log").read_text()
