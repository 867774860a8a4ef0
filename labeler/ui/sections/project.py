"""The section of the page Data about the project: its folders, and a form to add a folder of photos."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from labeler import service
from labeler.errors import Problem
from labeler.ui.parts import refusals
from labeler.ui.parts.wording import plain
from shared.figures import duration
from shared.images.sources.addresses import Place, shown
from shared.settings.recent_projects import recent
from shared.settings.services import LabelerSettings

PROBLEM = "folder problem"  # session key: why the last folder could not be added


def section() -> None:
    """Draw the section."""
    labeler = service.current()
    project = labeler.identity
    st.subheader(f"Project {project.name}", anchor=False)
    st.write(f"All files of this project are in the folder `{project.workspace}`.")
    _folders()
    _others()


def _folders() -> None:
    labeler = service.current()
    folders = labeler.folders.view()
    rows = [
        {"Image folder": plain(shown(each.path)), "Files": f"{each.files:,}", "": "missing" if each.missing else ""}
        for each in folders
    ]
    st.table(rows, border="horizontal", hide_index=True)
    if any(each.missing for each in folders):
        st.warning(
            "The labels of a missing folder are kept. Put the folder back, or give its new path at the next start: "
            f"`flywheel up NEW-FOLDER --change --workspace {labeler.identity.workspace}`",
            icon=":material/folder_off:",
        )
    if labeler.identity.demo:
        return
    st.caption(when_new_ones_join(labeler.settings, [each.path for each in folders]))
    if not labeler.settings.is_loopback:
        st.caption(
            "To add a folder, run this on the labeler's machine: "
            f"`flywheel add FOLDER --workspace {labeler.identity.workspace}`"
        )
        return
    with st.form("folder", clear_on_submit=True, border=False):
        st.text_input("Add a folder or archive of photos on this machine", placeholder="/home/ann/photos", key="folder")
        st.form_submit_button("Add folder", on_click=_add)
    refusals.show(PROBLEM)


def when_new_ones_join(settings: LabelerSettings, places: Sequence[Place]) -> str:
    """When new photos in these places are added, as sentences."""
    if not settings.watch:
        return "New photos in these folders are added automatically at the next start."
    stores = [place for place in places if isinstance(place, str)]
    said = ["New photos in these folders are added automatically within seconds."] if len(stores) < len(places) else []
    if stores and settings.relist_seconds:
        said.append(f"New photos in a store are added within {duration(settings.relist_seconds)}.")
    elif stores:
        said.append("New photos in a store are added at the next start.")
    return " ".join(said)


def _add() -> None:
    refusals.forget(PROBLEM)
    try:
        service.current().folders.add(st.session_state["folder"])
    except Problem as problem:
        refusals.refuse(PROBLEM, problem.detail)


def _others() -> None:
    here = service.current().identity.workspace
    others = [each for each in recent() if str(each.workspace) != here]
    if not others:
        return
    with st.expander("Other projects on this machine", key="other projects"):
        rows = [
            {
                "Project": plain(project.name),
                "Continue with": f"`flywheel up --workspace {each.workspace}`",
                "Started": f"{each.started.astimezone():%Y-%m-%d %H:%M}",
            }
            for each in others
            if (project := each.project()) is not None
        ]
        st.table(rows, border="horizontal", hide_index=True)
