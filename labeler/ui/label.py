"""The page Label: the card, or a form to name classes if there are none yet and answers need them.

Each image has a URL: `/?image=123` opens it to view or correct it (`labeler.labeling.single_image`).
"""

from __future__ import annotations

import streamlit as st

from labeler import service
from labeler.errors import Problem
from labeler.ui.parts import components
from labeler.ui.parts.wording import plain
from shared.class_names import Spellings


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
        names = st.text_area("One class per line", placeholder="shirt\nshoes\nhat", height=160)
        if not st.form_submit_button("Start labeling", type="primary"):
            return
    given = list(filter(None, map(str.strip, names.splitlines())))
    spellings = Spellings()
    first = list(dict.fromkeys(map(spellings.of, given)))
    for name, same in spellings.taken.items():
        st.error(plain(f"“{same}” and “{name}” are the same class: name it once."))
    if spellings.taken:
        return
    try:
        for name in first:
            labeler.classes.add(name, "me")
    except Problem as problem:
        st.error(plain(problem.detail))
    else:
        st.rerun()
