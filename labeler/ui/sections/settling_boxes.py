"""How a disagreement on boxes is settled: everybody's boxes over the image, and a button for each answer that could be
the right one. A section of the page Disagreements.

A person has a colour. Boxes on which people agree are thin, the others thick.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

import streamlit as st

from labeler import service
from labeler.labeling.classes import DIGITS
from labeler.ui.parts import components
from labeler.ui.parts.wording import plain
from shared.tasks.box_matching import groups
from shared.tasks.detection import Box, Boxes
from shared.wire.review import Choice, Disagreement

COLOURS = ("#2563eb", "#d97706", "#0f766e", "#be185d", "#6d28d9")
"""Of the people, in the order in which they answered."""
MOST_NAMED = 60
"""Maximum number of boxes that are all shown with their class."""
Decide = Callable[[int, int | None, dict[str, Any]], None]


def picture(shown: Disagreement) -> str:
    """The image with the boxes of all people, as HTML."""
    votes = _votes(shown)
    width, height = shown.width or 1, shown.height or 1
    objects = groups(list(votes.values()))
    named = sum(map(len, objects)) <= MOST_NAMED
    drawn = []
    for each in objects:
        agreed = len(each) == len(votes) and len({box.label for box in each.values()}) == 1
        for person, box in each.items():
            drawn.append(_box(box, person, agreed, named and (not agreed or person == 0), width, height))
    ratio = width / height
    return (
        f'<div style="position:relative; margin:auto; width:min(100%, {65 * ratio:.2f}vh); aspect-ratio:{ratio:.4f}">'
        f'<img src="{escape(shown.url)}" alt="Image {shown.image_id}, to be settled" '
        f'style="display:block; width:100%; height:100%">{"".join(drawn)}</div>{_legend(list(votes))}'
    )


def ask(shown: Disagreement, classes: int, settle: Decide, later: Callable[[int], None]) -> None:
    """Draw a button for each answer that could settle the image, and one to return to it later."""
    for number, choice in enumerate(shown.choices, 1):
        st.button(
            f"{_words(choice)}: {plain(choice.name)}",
            key=_key(shown, number),
            shortcut=str(number) if number < 10 else None,
            on_click=settle,
            args=(shown.image_id, None, choice.answer),
        )
    skip = "Shift+S" if classes > len(DIGITS) else "S"  # as on the page Label
    key = f"later-{shown.image_id}"
    st.button("Later", key=key, shortcut=skip, on_click=later, args=(shown.image_id,))
    numbers = {str(k): _key(shown, k) for k in range(1, min(len(shown.choices), 9) + 1)}
    components.shortcuts(numbers | ({"s": key} if skip == "S" else {}), {"s": key} if skip != "S" else {})
    if shown.split == "train":
        st.caption(f"None is right? [Open the image](/?image={shown.image_id}) and correct its boxes.")


def _words(choice: Choice) -> str:
    match choice.kind:
        case "one":
            return plain(choice.annotator or "")
        case "majority":
            return "Boxes of the majority"
        case "all":
            return "All boxes"
        case _:
            return "Only boxes that everyone drew"


def _votes(shown: Disagreement) -> dict[str, Boxes]:
    return {
        each.annotator: Boxes(Box(**box) for box in each.answer["boxes"])
        for each in shown.opinions
        if each.action == "label" and each.answer
    }


def _box(box: Box, person: int, agreed: bool, named: bool, width: int, height: int) -> str:
    colour = COLOURS[person % len(COLOURS)]
    line = "1px solid" if agreed else "3px " + ("solid", "dashed", "dotted")[person % 3]
    name = service.current().classes.name(box.label) or "" if named else ""
    left, top, wide, high = (
        f"{100 * part / whole:.3f}%"
        for part, whole in ((box.x, width), (box.y, height), (box.w, width), (box.h, height))
    )
    place = f"left:{left}; top:{top}; width:{wide}; height:{high}; border:{line} {colour}"
    words = f"left:0; {_beside(box, person, height)}; font-size:12px; line-height:1.2; white-space:nowrap"
    return (
        f'<div style="position:absolute; box-sizing:border-box; {place}">'
        f'<span style="position:absolute; {words}; color:#fff; background:{colour}">{escape(name)}</span></div>'
    )


def _beside(box: Box, person: int, height: int) -> str:
    """Names of the first person above their boxes, of the others below, where there is room."""
    above = box.y > height / 20 if person == 0 else box.y + box.h > height * 19 / 20
    return "bottom:100%" if above else "top:100%"


def _legend(people: list[str]) -> str:
    entries = (
        f'<span style="white-space:nowrap"><span style="display:inline-block; width:0.8em; height:0.8em; '
        f'border:2px solid {COLOURS[k % len(COLOURS)]}"></span> {escape(who)}</span>'
        for k, who in enumerate(people)
    )
    return f'<p style="display:flex; flex-wrap:wrap; gap:1em; justify-content:center">{"".join(entries)}</p>'


def _key(shown: Disagreement, number: int) -> str:
    return f"settle-{shown.image_id}-{number}"
