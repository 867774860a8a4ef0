"""How a disagreement is settled where an image may have several classes: a section of the page Disagreements.

Each class on which people differ gets a yes or a no. What they agree on stays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from labeler.labeling.classes import DIGITS
from labeler.ui.parts import components
from labeler.ui.parts.wording import plain
from shared.wire.project import ClassEntry
from shared.wire.review import Disagreement

YES, NO = "Yes", "No"
Settle = Callable[[int, dict[str, Any] | None, str | None], None]
"""Settles the image with this answer, or says why there is none."""


def ask(shown: Disagreement, classes: list[ClassEntry], settle: Settle, later: Callable[[int], None]) -> None:
    """Draw a yes and a no for each class in question, and buttons to settle the image or return to it later."""
    asked = [entry for entry in classes if entry.id in contested(shown)]
    for entry in asked:
        said = {value: _who(shown, entry.id, value) for value in (YES, NO)}
        st.segmented_control(
            plain(entry.name),
            [YES, NO],
            default=_majority(shown, entry.id),
            format_func=lambda value, said=said: f"{value}: {said[value]}",
            key=_key(shown, entry.id),
        )
    names = f"settle-{shown.image_id}", f"later-{shown.image_id}"
    shift = "Shift+" if len(classes) > len(DIGITS) else ""  # as on the page Label
    with st.container(horizontal=True):
        args = shown, asked, settle
        st.button("Settle", key=names[0], shortcut=f"{shift}A", type="primary", on_click=_settle, args=args)
        st.button("Later", key=names[1], shortcut=f"{shift}S", on_click=later, args=(shown.image_id,))
    keys = dict(zip("as", names, strict=True))
    components.shortcuts({} if shift else keys, keys if shift else {})


def contested(shown: Disagreement) -> set[int]:
    """The classes to which one person said yes and another no."""
    yes, no = (
        {each for opinion in shown.opinions if opinion.answer for each in opinion.answer[side]}
        for side in ("yes", "no")
    )
    return yes & no


def _settle(shown: Disagreement, asked: list[ClassEntry], settle: Settle) -> None:
    said = {entry.id: st.session_state.get(_key(shown, entry.id)) for entry in asked}
    left = [entry.name for entry in asked if said[entry.id] is None]
    if left:
        settle(shown.image_id, None, f"Choose Yes or No for {', '.join(left)} first, or press Later.")
        return
    answer = {
        "yes": [each for each, value in said.items() if value == YES],
        "no": [each for each, value in said.items() if value == NO],
        "merge": True,
    }
    settle(shown.image_id, answer, None)


def _who(shown: Disagreement, class_id: int, value: str) -> str:
    side = "yes" if value == YES else "no"
    names = [each.annotator for each in shown.opinions if each.answer and class_id in each.answer[side]]
    return plain(", ".join(names))


def _majority(shown: Disagreement, class_id: int) -> str | None:
    answer = shown.answer or {"yes": [], "no": []}
    return YES if class_id in answer["yes"] else NO if class_id in answer["no"] else None


def _key(shown: Disagreement, class_id: int) -> str:
    return f"says-{shown.image_id}-{class_id}"
