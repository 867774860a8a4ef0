"""The colours of the map's points, for a light and for a dark page, and those of figures.

Each stands out 3 to 1 from its background (WCAG 2.2, non-text), words 4.5 to 1, and any two classes stay apart for
people who see no red, no green or no blue; a test measures all of it. The map's were found by a search for the largest
least distance.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypedDict

from shared.messages import ClassEntry


class Palette(TypedDict):
    """Colours as #rrggbb."""

    classes: list[str]  # the largest ten have one each
    uncertainty: list[str]  # from sure to unsure
    quiet: str  # nothing known
    ink: str  # words in a figure


LIGHT: Palette = {
    "classes": [
        "#141ff8",
        "#7e9200",
        "#7a0688",
        "#07a56a",
        "#3c0303",
        "#d06bb0",
        "#1c5550",
        "#b255fe",
        "#534902",
        "#040734",
    ],
    "uncertainty": ["#2a78c2", "#4d6892", "#705961", "#924a30", "#b53a00"],
    "quiet": "#767676",
    "ink": "#555867",
}
DARK: Palette = {
    "classes": [
        "#d2a3fd",
        "#ebfd49",
        "#c004a7",
        "#02d682",
        "#bdfde4",
        "#9930ec",
        "#7ebb1b",
        "#d184ad",
        "#607214",
        "#12794c",
    ],
    "uncertainty": ["#4a9be8", "#77a1c0", "#a4a798", "#d2ad6f", "#ffb347"],
    "quiet": "#8a8a86",
    "ink": "#e6eaf1",
}
INK = f"luminance(background) > 0.5 ? '{LIGHT['ink']}' : '{DARK['ink']}'"
"""A Vega expression, as the figure's page may be light or dark; Streamlit's own theme has 3.7 to 1 on white."""
NO_OWN = "#318ecd"
"""Of a class that has no colour of its own, in a figure where others have one."""
BOTH = ["#318ecd", "#f83603", "#881af9", "#a24850"]
"""A figure's few colours, on a light page and on a dark one."""


def own_colours(classes: Iterable[ClassEntry]) -> dict[str, str]:
    """Class name → its own colour, of those that have one."""
    return {each.name: each.colour for each in classes if each.colour is not None}


def colours_of(names: Sequence[str], own: dict[str, str]) -> list[str | dict[str, str]]:
    """A colour for each class: its own, else the next of the palette, which is another one on a dark page."""
    palette = zip(LIGHT["classes"], DARK["classes"], strict=True)
    quiet = (LIGHT["quiet"], DARK["quiet"])
    colours: list[str | dict[str, str]] = []
    for name in names:
        light, dark = (own[name],) * 2 if name in own else next(palette, quiet)
        colours.append({"expr": f"luminance(background) > 0.5 ? '{light}' : '{dark}'"} if light != dark else light)
    return colours
