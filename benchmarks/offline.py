"""Results without a model hub: labeled photos with the installed network, chosen labels against random ones.

    python -m benchmarks.offline clothing=labels.csv:photos monkeys=more.csv:monkeys

Each NAME=LABELS:IMAGES is embedded once (`benchmarks.vectors`, stored as NAME.npz in --vectors), as `flywheel up
IMAGES` embeds it without a hub, and passed to `benchmarks.label_efficiency`. With `--views` it is embedded as in the
second look (stored as NAME-views.npz).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

OFFLINE = {"HF_HUB_OFFLINE": "1"}


def main() -> None:
    """Embed what is missing, then simulate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", metavar="NAME=LABELS:IMAGES")
    parser.add_argument("--vectors", type=Path, default=Path("vectors"), help="folder that keeps the vectors")
    parser.add_argument("--views", action="store_true", help="features of three views, as after the second look")
    parser.add_argument("--strategies", default="uncertainty_herding,random")
    parser.add_argument("--seeds", default="3")
    parser.add_argument("--first-seed", default="0")
    parser.add_argument("--budget", default="200")
    given = parser.parse_args()
    given.vectors.mkdir(parents=True, exist_ok=True)
    for each in given.sets:
        name, _, rest = each.partition("=")
        labels, _, images = rest.partition(":")
        file = given.vectors / f"{name}{'-views' if given.views else ''}.npz"
        if not file.is_file():
            more = [*(["--images", images] if images else []), *(["--views"] if given.views else [])]
            _run("benchmarks.vectors", labels, str(file), *more)
        more = ["--strategies", given.strategies, "--seeds", given.seeds, "--first-seed", given.first_seed]
        more += ["--budget", given.budget]
        _run("benchmarks.label_efficiency", "--npz", f"{name}={file}", *more)


def _run(module: str, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", module, *arguments], env={**os.environ, **OFFLINE}, check=True)


if __name__ == "__main__":
    main()
