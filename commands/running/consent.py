"""Before a command changes many things at once, it says in numbers what will happen. At a terminal it also asks.

A script that runs unattended is not asked, so it does not hang; it has the numbers in its log.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console

console = Console()
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]


def consent(what: str, *, yes: bool) -> None:
    """Print what will happen, and ask at a terminal. Raises typer.Abort if the person declines."""
    console.print(what, markup=False, highlight=False, soft_wrap=True)
    if not yes and sys.stdin.isatty():
        typer.confirm("Continue?", abort=True)
