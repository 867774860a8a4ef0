"""The page on which data comes in: photos and label files. One section is one function."""

from __future__ import annotations

import streamlit as st

from labeler import service
from labeler.ui import components, project, states

SOONEST_SECONDS = 2


def page() -> None:
    """Draw the page."""
    st.subheader("Add photos and labels", anchor=False)
    labeler = service.current()
    components.add(labeler.project(), labeler.settings)
    _state()
    project.section()


@st.fragment
def _state() -> None:
    """How many photos there are, and how far the services are with them."""
    components.redraw("data", ["images", "labels", "trainer"], soonest=SOONEST_SECONDS)
    labeler = service.current()
    there = labeler.project()
    st.subheader("Photos here", anchor=False)
    copies = f" {there.duplicates:,} more files are copies of these." if there.duplicates else ""
    st.write(f"**{there.images.total:,}** photos, **{there.images.labeled:,}** of them labeled.{copies}")
    states.show(there, labeler.trainer.status())
    if there.rejected:
        with st.expander(f"{there.rejected:,} files cannot be used"):
            st.table([{"File": each.uri, "Reason": each.reason} for each in labeler.catalog.rejections(200)])
