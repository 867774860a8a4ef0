"""Before a command changes much at once: it says in numbers what will happen, and at a terminal asks whether it shall.

A script that nobody watches is not asked, so that what ran unattended before still does; it has the numbers in its log.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console

console = Console()
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")]


def consent(what: str, *, yes: bool) -> None:
    """Say `what` will happen. Raises typer.Abort when somebody at the terminal does not want it."""
    console.print(what, markup=False, highlight=False, soft_wrap=True)
    if not yes and sys.stdin.isatty():
        typer.confirm("Go on?", abort=True)
