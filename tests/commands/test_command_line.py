"""What holds for every command."""

import subprocess
import sys

from tests.services import HOME

SLOW = ["sqlalchemy", "alembic", "torch", "streamlit", "pandas", "scipy", "pyarrow", "fastapi"]


def test_a_command_does_not_import_what_only_services_and_jobs_need():
    code = f"import sys, flywheel; print(*[name for name in {SLOW} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=HOME, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
