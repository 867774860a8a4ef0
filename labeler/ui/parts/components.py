"""The parts of pages that run in the browser: the labeling card, the grid, the map, the review, and the bar.

They are Streamlit v2 components: a widget that reruns the page loses and misplaces keys at typing speed, while a
component hears of changes over a WebSocket. Their HTML and CSS are plain files in `labeler/ui`, read as text. Their
JavaScript is ES modules that the browser imports from the labeler (`labeler.ui.parts.scripts`). They get only
the data given here from Python, and request everything else from the API, like any client.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import streamlit as st

from labeler import service
from labeler.change_markers import Section
from labeler.errors import Problem
from labeler.trainer_link.advice import sentence
from labeler.ui.parts import wording
from labeler.ui.parts.palette import DARK, FIRST, INK, LIGHT
from labeler.ui.parts.scripts import UNMOUNTED, loader
from shared.images.finding import NO_IMAGES
from shared.settings.services import LabelerSettings
from shared.tasks.registry import task_named
from shared.wire.fields import MAX_ROWS
from shared.wire.project import Project

FOLDER = Path(__file__).parents[1]
Press = Literal["pause", "resume", "stop"]
PRESSED, PROBLEM, SERVED = "pressed", "press problem", "served press"  # session keys: what became of the last press
CHOSEN = "chosen on the map"  # session key
NOBODY = "me"  # annotator without a name
BAR = "bar"  # session key under which Streamlit keeps the bar's values
LATEST_SECONDS = 60.0  # a page is redrawn at the latest after this: the pace falls without events


def card(project: Project, settings: LabelerSettings, image: str | None = None) -> None:
    """Mount the labeling card. It works by itself and returns nothing. `image`: id of the image to open first, from the
    page's URL."""
    _CARD(
        key="card",
        data={
            "log_id": str(project.log_id),
            "read_ahead": settings.read_ahead,
            "max_unconfirmed": settings.max_unconfirmed,
            "lease_seconds": settings.lease_seconds,
            "image": image,
            "guidelines": service.current().guidelines.view.model_dump(mode="json"),
            "display_pixels": settings.display_pixels,
            "task": project.task,
            "preselect": project.preselect_suggestions and not project.blind_mode,
            "palette": DARK["classes"],  # bright lines, each with a dark rim: they are seen on any photo
        },
    )


def gallery(project: Project, settings: LabelerSettings, view: dict[str, str]) -> None:
    """Mount the grid of the images that `view` selects, see `shared.wire.images.View`; it labels by itself."""
    data = {
        "log_id": str(project.log_id),
        "view": view,
        "most": MAX_ROWS,
        "display_pixels": settings.display_pixels,
        "task": project.task,
    }
    _GALLERY(key="gallery", data=data)


def chart(project: Project) -> list[int]:
    """Mount the map; returns the images that were selected to open in the grid, once."""
    log_id, task = str(project.log_id), project.task
    data = {"log_id": log_id, "task": task, "most": MAX_ROWS, "light": LIGHT, "dark": DARK, "first": FIRST}
    _CHART(key="chart", data=data, on_chosen_change=_choose)
    return list(st.session_state.pop(CHOSEN, None) or [])


def _choose() -> None:
    """Keep what was chosen until the page is drawn: a drawing may be cut short, and Streamlit tells the next one
    nothing of it."""
    st.session_state[CHOSEN] = st.session_state["chart"]["chosen"]


def add(project: Project, settings: LabelerSettings) -> None:
    """Mount the area where photos and label files are dropped; it uploads by itself."""
    data = {
        "log_id": str(project.log_id),
        "max_image_bytes": settings.max_image_bytes,
        "max_request_bytes": settings.max_request_bytes,
        "no_images": sorted(NO_IMAGES),
        "folders_are_labels": not task_named(project.task).by_box,
    }
    _ADD(key="add", data=data)


def review(project: Project, settings: LabelerSettings) -> None:
    """Mount the review of doubtful labels; it works by itself."""
    data = {
        "log_id": str(project.log_id),
        "max_unconfirmed": settings.max_unconfirmed,
        "display_pixels": settings.display_pixels,
        "start": sentence(settings.workspace),
        "task": project.task,
    }
    _REVIEW(key="review", data=data)


def downloads(place: str) -> None:
    """Mount the progress display of the downloads that are linked at this `place` of a page."""
    _DOWNLOADS(key=f"downloads-{place}")


def figure(chart: Any, alt: str) -> None:
    """Draw an Altair chart at full width, with text of sufficient contrast; `alt` is its text alternative."""
    # Vega measures the last number of an axis in a narrower font than the page's, which would cut it off.
    chart = chart.properties(padding={"right": 6})
    ink = {"labelColor": {"expr": INK}, "titleColor": {"expr": INK}}
    st.altair_chart(chart.configure_axis(**ink).configure_legend(**ink), width="stretch", alt=alt)


def redraw(part: str, shown: Sequence[Section], *, soonest: float) -> None:
    """Redraw the page, or the fragment that calls this, when something in `shown` changes, after `soonest` seconds.
    Call it before requesting what is shown, with a unique name as `part`."""
    markers = service.current().state.change_markers()
    data = {"marks": {each: markers[each] for each in shown}, "soonest": soonest, "latest": LATEST_SECONDS}
    _WATCH(key=f"watch-{part}", data=data, on_changed_change=lambda: None)


def shortcuts(keys: dict[str, str], shifted: dict[str, str]) -> None:
    """Let keys press the buttons with these Streamlit keys, alone or with Shift."""
    _SHORTCUTS(key="shortcuts", data={"keys": keys, "shifted": shifted})


def bar(*, asks: bool) -> Press | None:
    """Mount the bar; returns the pressed button, once. `asks`: whether it has a field for the annotator's name.

    Streamlit may lose a press if another redraw comes at the same moment. So the bar numbers each press, and repeats it
    until it hears that this number was served.
    """
    current = service.current()
    _BAR(
        key=BAR,
        data={
            "words": wording.trainer(current.settings.workspace),
            "asks": asks,
            "annotator": annotator(),
            "task": current.task.title,
            "counted": current.task.counted,
            "served": st.session_state.get(SERVED),
        },
        default={"annotator": NOBODY},
        on_annotator_change=lambda: None,
        on_pressed_change=_press,
    )
    if problem := st.session_state.pop(PROBLEM, None):
        st.toast(wording.plain(problem), icon=":material/error:")
    pressed: Press | None = st.session_state.pop(PRESSED, None)
    return pressed


def _press() -> None:
    said = st.session_state[BAR]["pressed"]
    if said is None or said["number"] == st.session_state.get(SERVED):
        return
    st.session_state[SERVED] = said["number"]
    pressed: Press = said["name"]
    try:
        getattr(service.current().trainer, pressed)()
    except Problem as problem:
        st.session_state[PROBLEM] = problem.detail
    else:
        st.session_state[PRESSED] = pressed


def annotator() -> str:
    """The annotator's name from the bar; `me` without a name.

    A button's callback, which runs before the bar is drawn, already gets a name entered with the press.
    """
    name: str = st.session_state.get(BAR, {}).get("annotator", NOBODY)
    return name


def _component(name: str, *styles: str, html: str | None = None) -> Any:
    """A component of `NAME/NAME.html`, whose module is `NAME/NAME.js`; `styles` are further style sheets.

    What its HTML holds for one task stands in `tasks/TASK/NAME.html`. The component takes what is its
    project's from there (`labeler/ui/tasks/task.js`).
    """
    parts = (
        f'<template data-task="{path.parent.name}">{path.read_text("utf-8")}</template>'
        for path in sorted(FOLDER.glob(f"tasks/*/{name}.html"))
    )
    css = ("component.css", *(f"{style}.css" for style in styles)) if styles else ()
    return st.components.v2.component(
        f"flywheel.{name}",
        html=html or UNMOUNTED + (FOLDER / f"{name}/{name}.html").read_text("utf-8") + "".join(parts),
        css="\n".join((FOLDER / path).read_text("utf-8") for path in css) or None,
        js=loader(f"{name}/{name}.js"),
    )


_BOXES = "tasks/detection/boxes/boxes"
_CARD = _component("card", "card/card", "stage/stage", "card/panel", "card/dialogs", "card/guide", _BOXES, "keys")
_REVIEW = _component("review", "card/card", "stage/stage", "card/panel", "review/review", "keys")
_GALLERY = _component("gallery", "gallery/gallery", "keys")
_CHART = _component("chart", "chart/chart", "keys")
_ADD = _component("add", "add/add")
_DOWNLOADS = _component("downloads", "downloads/downloads")
_BAR = _component("bar", "bar/bar")
_SHORTCUTS = _component("shortcuts", html="<i></i>")
_WATCH = _component("watch", html="<i></i>")
