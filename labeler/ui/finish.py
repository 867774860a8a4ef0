"""The page after Stop: what was saved where, how good it is, and what can be done with it."""

from __future__ import annotations

import streamlit as st

from labeler import service
from labeler.ui.words import TRAINER, plain

REFRESH_SECONDS = 1


def page() -> None:
    """Draw the page."""
    _outcome()


@st.fragment(run_every=REFRESH_SECONDS)
def _outcome() -> None:
    from labeler.ui import figures  # pandas and altair take a second: not before the first figure is drawn

    labeler = service.current()
    project = labeler.project()
    status = labeler.trainer.status()
    evaluations = labeler.progress().evaluations
    name, what = TRAINER[project.trainer.state]
    if project.trainer.state == "stopping":
        st.info(f"**{name}:** {what}.", icon=":material/hourglass_top:")
    elif project.trainer.state == "stopped":
        why = f": {status.stop_reason}" if status and status.stop_reason else ""
        st.success(f"**{name}**{plain(why)}.", icon=":material/check:")
    else:
        st.write(
            "Press **Stop** above when you are done: the last labels are learned, the model is measured once more, and "
            "model and dataset are saved. You can resume at any time."
        )
    if status is not None and status.saved is not None:
        st.subheader("What was saved")
        st.markdown(
            f"Model **{status.saved.model_version}**, {status.saved.at:%Y-%m-%d %H:%M} UTC: {status.saved.reason}"
        )
        st.code(f"{status.saved.model}\n{status.saved.dataset}", language=None)
    if evaluations:
        st.subheader("How good it is")
        st.write(figures.in_words(evaluations[-1]))
        st.altair_chart(figures.accuracy_curve(evaluations), width="stretch")
    st.subheader("Take your labels with you")
    st.write(f"{project.images.labeled:,} labels, in a file that other tools read:")
    st.link_button("Download CSV", "/api/export?format=csv", icon=":material/download:")
