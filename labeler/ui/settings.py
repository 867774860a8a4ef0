"""The page that shows every setting of the labeler with its value, its meaning, and where the value came from."""

from __future__ import annotations

import re
from pathlib import Path

import streamlit as st

import config
from labeler import service
from labeler.ui.words import plain

_LINE = re.compile(r"^(?P<name>\w+) = .*?#\s*(?P<meaning>.+)$")


def page() -> None:
    """Draw the page."""
    st.write(
        "Settings of the labeler. A file (`--config`), the environment (`FLYWHEEL_LABELER__…`) and the command line "
        "change them at the next start; the trainer has its own in `config/trainer.toml`."
    )
    meanings = meanings_of(Path(config.__file__).parent / "labeler.toml")
    rows = [
        {"Setting": name, "Value": plain(str(shown.value)), "From": shown.source, "Meaning": meanings.get(name, "")}
        for name, shown in service.current().running.show().items()
    ]
    st.table(rows, border="horizontal", hide_index=True)


def meanings_of(defaults: Path) -> dict[str, str]:
    """The comment behind each setting in a file of defaults: the meanings stand there and nowhere else."""
    lines = defaults.read_text(encoding="utf-8").splitlines()
    found = (_LINE.match(line) for line in lines)
    return {match["name"]: match["meaning"] for match in found if match}
