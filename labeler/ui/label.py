"""The page Label: the card, or a form to name classes if there are none yet and answers need them.

Each image has a URL: `/?image=123` opens it to view or correct it (`labeler.labeling.single_image`).
"""

from __future__ import annotations

import streamlit as st

from labeler import service
from labeler.errors import Problem
from labeler.ui.parts import components, refusals
from shared.class_names import MOST, Spellings, lacking

NAMES = "class names"  # session key: what was typed into the form
PROBLEM = "class names problem"  # session key: why the last press had no effect


def page() -> None:
    """Draw the page."""
    labeler = service.current()
    project = labeler.project()
    if project.classes or labeler.task.which_classes is None:
        components.card(project, labeler.settings, st.query_params.get("image"))
    else:
        _name_classes(labeler, labeler.task.which_classes)


def _name_classes(labeler: service.Service, which: str) -> None:
    st.subheader("What do the images show?")
    st.write(f"Name the classes {which}. You can add, rename and merge classes at any time.")
    with st.form("classes", border=False, width=560):
        st.text_area("One class per line", placeholder="shirt\nshoes\nhat", height=160, key=NAMES)
        st.form_submit_button("Start labeling", type="primary", on_click=_add_classes)
    refusals.show(PROBLEM)


def _add_classes() -> None:
    refusals.forget(PROBLEM)
    given = list(filter(None, map(str.strip, str(st.session_state[NAMES]).splitlines())))
    spellings = Spellings()
    first = list(dict.fromkeys(map(spellings.of, given)))
    if spellings.taken:
        same = [f"“{same}” and “{name}” are the same class: name it once." for name, same in spellings.taken.items()]
        refusals.refuse(PROBLEM, " ".join(same))
        return
    if not first:
        refusals.refuse(PROBLEM, "Name at least one class.")
        return
    if too_long := next((name for name in first if len(name) > MOST), None):
        said = f"“{too_long[:20]}…” has {len(too_long):,} characters, and a class name has at most {MOST}."
        refusals.refuse(PROBLEM, said)
        return
    try:
        classes = service.current().classes
        for name in lacking(first, [each.model_dump() for each in classes.entries()]):  # somebody may have added some
            classes.add(name, "me")
    except Problem as problem:
        refusals.refuse(PROBLEM, problem.detail)
