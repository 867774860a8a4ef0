"""The start of the trainer's process."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.services import HOME
from trainer.app import main


def test_a_port_in_use_leaves_nothing_behind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["--port", port, "--workspace", str(tmp_path / "w")]) == 2
    assert f"Port {port} is already in use" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("service", ["labeler", "trainer"])
def test_help_imports_nothing_heavy(service: str) -> None:
    """A process of its own, because this one has imported everything."""
    heavy = ("streamlit", "pandas", "altair", "torch", "timm", "sqlalchemy", "PIL")
    code = (
        f"import sys, {service}.app as app\n"
        "try: app.main(['--help'])\n"
        "except SystemExit: pass\n"
        f"print(*[name for name in {heavy!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=HOME, capture_output=True, text=True)
    assert (done.returncode, done.stderr.strip()) == (0, "")
    assert "--log-level" in done.stdout
