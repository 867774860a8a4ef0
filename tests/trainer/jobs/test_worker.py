"""The process of a job begins with what every job needs."""

import subprocess
import sys

from tests.services import HOME


def test_a_job_does_not_load_slow_libraries_that_few_jobs_need():
    """On a busy machine, a process of the lowest priority takes minutes for some seconds of imports."""
    code = "import sys, trainer.jobs.worker; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=HOME, capture_output=True, text=True, check=True).stdout
    assert not {"torch", "sklearn", "pandas", "fastai", "streamlit"} & {*loaded.split()}
