"""A page is redrawn when something that it shows changes. A redraw must not lose what a person has begun there."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import labeler.ui

HOME = Path(labeler.ui.__file__).parent


def calls(name: str, without: str) -> Iterator[str]:
    """The calls of Streamlit's function `name` in the pages that do not give the argument `without`."""
    for path in sorted(HOME.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == name):
                continue
            if without not in {each.arg for each in node.keywords}:
                yield f"{path.relative_to(HOME)}: {ast.unparse(node)}"


@pytest.mark.parametrize("part", ["expander", "popover"])
def test_what_is_open_stays_open(part: str) -> None:
    """Without a key, Streamlit closes it as soon as a part above it appears or goes, or its own label changes."""
    assert list(calls(part, without="key")) == []


@pytest.mark.parametrize("button", ["button", "form_submit_button"])
def test_no_press_is_lost(button: str) -> None:
    """A press that is read while the page is drawn is lost if the page is drawn anew at that moment. A callback never
    is. The button "Try again" needs none, because it only draws the page anew."""
    assert [call for call in calls(button, without="on_click") if "'Try again'" not in call] == []
