"""The colours of classes, of the map's points and of figures, for light and dark pages.

Each has a contrast of 3 to 1 with its background (WCAG 2.2, non-text), text 4.5 to 1. The first ten classes are
distinguishable for people who cannot see red, green or blue. Up to forty also differ in lightness, and each further ten
have another shape on the map. A test measures the distances. A search for the largest minimum distance found these
colours.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypedDict

from shared.wire.project import ClassEntry


class Palette(TypedDict):
    """Colours as #rrggbb."""

    classes: list[str]  # by the class's position, unless it has its own colour
    uncertainty: list[str]  # from confident to uncertain
    quiet: str  # no information
    ink: str  # text in a figure


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
        "#b63d3d",
        "#006db6",
        "#313131",
        "#79556d",
        "#617955",
        "#920049",
        "#9e6100",
        "#243d18",
        "#ff556d",
        "#008692",
        "#aa8686",
        "#7992ce",
        "#000086",
        "#6d3d31",
        "#003d61",
        "#616192",
        "#18000c",
        "#c20cb6",
        "#49183d",
        "#c27949",
        "#001824",
        "#db0c79",
        "#92929e",
        "#00793d",
        "#6d55e7",
        "#6d0000",
        "#494961",
        "#496124",
        "#6192aa",
        "#3d0055",
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
        "#e70c49",
        "#6d6179",
        "#6186ff",
        "#dbdbe7",
        "#ffc2b6",
        "#db7961",
        "#aa8600",
        "#fff3c2",
        "#79b6ce",
        "#92aa86",
        "#006daa",
        "#ff18f3",
        "#9e616d",
        "#189e9e",
        "#9279b6",
        "#b69e9e",
        "#ff9e61",
        "#f3ce00",
        "#9ef36d",
        "#49e7ff",
        "#92553d",
        "#556d61",
        "#ce3d18",
        "#e7ffff",
        "#6d7992",
        "#aab6b6",
        "#927961",
        "#c2b69e",
        "#ffaae7",
        "#9e9edb",
    ],
    "uncertainty": ["#4a9be8", "#77a1c0", "#a4a798", "#d2ad6f", "#ffb347"],
    "quiet": "#8a8a86",
    "ink": "#e6eaf1",
}
FIRST = 10
"""Classes that everyone can tell apart by colour alone; the map gives each further `FIRST` classes another shape."""
INK = f"luminance(background) > 0.5 ? '{LIGHT['ink']}' : '{DARK['ink']}'"
"""A Vega expression, because the page may be light or dark; Streamlit's own theme has only 3.7 to 1 on white."""
NO_OWN = "#318ecd"
"""Colour of a class without its own colour, in a figure where others have one."""
BOTH = ["#318ecd", "#f83603", "#881af9", "#a24850"]
"""The few colours of a figure, for both light and dark pages."""


def own_colours(classes: Iterable[ClassEntry]) -> dict[str, str]:
    """Class name → its own colour, for classes that have one."""
    return {each.name: each.colour for each in classes if each.colour is not None}


def colours_of(names: Sequence[str], own: dict[str, str]) -> list[str | dict[str, str]]:
    """A colour for each class: its own, else the next of the palette, which is a different one on a dark page."""
    palette = zip(LIGHT["classes"], DARK["classes"], strict=True)
    quiet = (LIGHT["quiet"], DARK["quiet"])
    colours: list[str | dict[str, str]] = []
    for name in names:
        light, dark = (own[name],) * 2 if name in own else next(palette, quiet)
        colours.append({"expr": f"luminance(background) > 0.5 ? '{light}' : '{dark}'"} if light != dark else light)
    return colours
