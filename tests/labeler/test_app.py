import socket
import subprocess
import sys
from pathlib import Path

import pytest

from commands.up import _Start
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
def test_impossible_input_gives_one_sentence(
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


def test_a_thread_that_computes_soon_lets_a_request_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = sys.getswitchinterval()
    try:
        assert main(["stray"]) == 2
        assert sys.getswitchinterval() == pytest.approx(0.001)
    finally:
        sys.setswitchinterval(before)


def test_help_lists_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "--buffer-size VALUE labels per batch. A full batch is sent at once (default: 10)" in text


def test_a_test_set_with_a_column_for_each_class_is_one_in_a_multilabel_project(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "test.csv"
    table.write_text("filename,cat,dog\na.png,1,0\n")
    given = {"images": tmp_path, "task": "multilabel", "test_set": table}
    start = _Start(given, {}, {"workspace": tmp_path / "w"}, (0, 0), (), (None, None), change=False)
    start._check_before_anything_is_written()
    with socket.create_server(("127.0.0.1", 0)) as taken:  # the next thing that is checked
        port = str(taken.getsockname()[1])
        options = [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]
        assert main(["--port", port, "--workspace", str(tmp_path / "w"), *options]) == 2
    assert port in capsys.readouterr().err


def test_streamlit_has_our_options(tmp_path: Path) -> None:
    """It reads no `STREAMLIT_…` where it is a part of another application, so they are in a file beside the pages."""
    code = """if True:
        import sys
        from labeler.app import _with_pages
        from shared.settings.services import LabelerSettings
        settings, _ = LabelerSettings.load(command_line={"workspace": sys.argv[1], "max_request_bytes": "7000000"})
        _with_pages(settings, [], None)
        from streamlit.config import get_option
        print(*map(get_option, ["browser.gatherUsageStats", "runner.fastReruns", "server.maxUploadSize"]))
    """
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False", "7"]
