"""The challenger, the network that the trainer trains during labeling: a section of the page Models."""

from __future__ import annotations

import streamlit as st

from labeler import service
from labeler.ui.parts import components
from labeler.ui.parts.wording import plain, time_left
from shared.figures import METRIC_NAMES, interval_in_words, p_in_words, percent
from shared.wire.trainer import ChallengerRound

SOONEST_SECONDS = 2
GROUNDS = {
    "validation": "validation images",
    "out of fold": "training images, each predicted by models that had not learned from it",
}


@st.fragment
def show() -> None:
    """Draw the challenger's state and the result of its last round, or nothing while unknown."""
    components.redraw("challenger", ["challenger"], soonest=SOONEST_SECONDS)
    status = service.current().trainer.status()
    view = status.challenger if status is not None else None
    if view is None:
        return
    st.subheader("The challenger", anchor=False)
    st.caption("The whole network, trained in the background, to replace the quick head.")
    if view.total and view.state in ("training", "embedding", "halted"):
        left = time_left(view.seconds_left)
        st.progress(min(view.done / view.total, 1.0), plain(f"{view.message}{left}"))
    else:
        st.markdown(plain(f"{view.message[:1].upper()}{view.message[1:].rstrip('.')}."))
    if view.aim:
        st.markdown(plain(f"{view.aim}."))
    if view.serving is not None:
        st.markdown(f"Questions come from the embeddings of **{plain(view.serving)}**.")
    if view.last is not None:
        st.markdown(plain(in_words(view.last)))


def in_words(found: ChallengerRound) -> str:
    """The result of a round, in two sentences."""
    stays = "Not significantly better: the head stays"
    outcome = "It was significantly better and replaced the model" if found.better else stays
    notes = "".join(f" {note}" for note in found.notes)
    right, head = percent(found.accuracy.value, 1), percent(found.head.value, 1)
    test = "McNemar's" if found.metric == "accuracy" else "permutation test,"
    return (
        f"Round {found.round}, at {found.labels:,} labels: {right} {METRIC_NAMES[found.metric]} "
        f"({interval_in_words(found.accuracy)}) against the head's {head}, on "
        f"{found.accuracy.n:,} {GROUNDS[found.ground]} ({test} {p_in_words(found.p)}). {outcome}.{notes}"
    )
