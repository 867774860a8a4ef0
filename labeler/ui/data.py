"""The page on which data comes in: photos and label files. One section is one function."""

from __future__ import annotations

import streamlit as st

from labeler import service
from labeler.ui import components, states

SOONEST_SECONDS = 2


def page() -> None:
    """Draw the page."""
    st.subheader("Add photos and labels", anchor=False)
    labeler = service.current()
    components.add(labeler.project(), labeler.settings)
    _state()


@st.fragment
def _state() -> None:
    """How many photos there are, and how far the services are with them."""
    components.redraw("data", ["images", "labels", "trainer"], soonest=SOONEST_SECONDS)
    labeler = service.current()
    project = labeler.project()
    st.subheader("Photos here", anchor=False)
    copies = f" {project.duplicates:,} more files are copies of these." if project.duplicates else ""
    st.write(f"**{project.images.total:,}** photos, **{project.images.labeled:,}** of them labeled.{copies}")
    states.show(project, labeler.trainer.status())
    if project.rejected:
        with st.expander(f"{project.rejected:,} files cannot be used"):
            st.table([{"File": each.uri, "Reason": each.reason} for each in labeler.catalog.rejections(200)])
