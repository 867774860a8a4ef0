"""The page that says where you are: accuracy on the untouched test sample, per class, and how fast it goes."""

from __future__ import annotations

import streamlit as st

from labeler import service

REFRESH_SECONDS = 5


def page() -> None:
    """Draw the page."""
    _figures()


@st.fragment(run_every=REFRESH_SECONDS)
def _figures() -> None:
    from labeler.ui import figures, outlook  # pandas and altair take a second: not before the first figure is drawn

    labeler = service.current()
    project, progress = labeler.project(), labeler.progress()
    latest = progress.evaluations[-1] if progress.evaluations else None
    labeled, accuracy, pace = st.columns(3)
    labeled.metric("Labeled", f"{project.images.labeled:,} of {project.images.total:,}")
    accuracy.metric("Accuracy", f"{latest.accuracy.value:.1%}" if latest else "–", help=figures.ACCURACY_HELP)
    pace.metric("Labels a minute", f"{progress.labels_per_minute:.0f}")
    if latest is None:
        st.info(figures.nothing_measured(labeler.settings), icon=":material/hourglass_empty:")
    else:
        st.write(figures.in_words(latest))
        curve = figures.accuracy_curve(progress.evaluations)
        st.altair_chart(outlook.with_outlook(curve, progress.evaluations), width="stretch")
        st.markdown("\n".join(f"- {sentence}" for sentence in outlook.sentences(progress.evaluations)))
        st.subheader("Classes on the test sample")
        st.table(figures.class_table(latest), border="horizontal", hide_index=True)
    st.subheader("Labels given")
    if progress.labels:
        st.altair_chart(figures.label_counts(progress.labels_per_class), width="stretch")
    else:
        st.write("None yet: the first one is a key press away on the page Label.")
