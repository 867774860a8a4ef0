"""A worker of pytest-xdist that skips imports: this program asks for a fork, and lends it its input and output.

The fork runs what a new interpreter would run: the line of Python that comes first on its input.
"""

import sys
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent


def main() -> int:
    """Be a worker, in the fork."""
    exec(eval(sys.stdin.readline()), {"__name__": "__main__"})
    return 0


def ask() -> int:
    """Ask for a worker, and wait until it ends."""
    sys.path[0] = str(HOME)
    from tests import forks

    return forks.start_worker([1, 2, 0]).wait()


if __name__ == "__main__":
    sys.exit(ask())
