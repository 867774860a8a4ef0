"""Users' own functions are found in the current folder, whose modules hide nobody else's."""

import json
import subprocess
import sys
from pathlib import Path

from shared.processes import child_environment

CODE = """
import json, random
from shared.own_code import own_function
print(json.dumps([own_function("mine:answer")(), random.__file__, own_function("z3:__file__")]))
"""


def test_a_module_in_the_current_folder_is_found_and_hides_no_other(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def answer(): return 42")
    (tmp_path / "random.py").write_text("raise SystemExit('the random module of the current folder')")
    (tmp_path / "shared").mkdir()
    (tmp_path / "z3.py").write_text("")
    command, environment = [sys.executable, "-P", "-c", CODE], child_environment()
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=50, check=True
    )
    answer, found, other = json.loads(done.stdout)
    assert answer == 42
    assert not Path(found).is_relative_to(tmp_path)
    assert other == str(tmp_path / "z3.py")
