"""What the challenger does, the network that the trainer trains beside labeling: on the page of models."""

from __future__ import annotations

import streamlit as st

from labeler import service
from labeler.ui.parts import components
from labeler.ui.parts.wording import plain
from shared.figures import interval_in_words, p_in_words, percent
from shared.wire.trainer import ChallengerRound

SOONEST_SECONDS = 2
GROUNDS = {
    "validation": "validation images",
    "out of fold": "train images that neither had learned from when it was asked",
}


@st.fragment
def show() -> None:
    """Draw what it does and what came of its last round; nothing while that is not known."""
    components.redraw("challenger", ["challenger"], soonest=SOONEST_SECONDS)
    status = service.current().trainer.status()
    view = status.challenger if status is not None else None
    if view is None:
        return
    st.subheader("The challenger", anchor=False)
    st.caption(
        "The whole network, trained beside labeling. It takes over from the quick head when it is significantly better."
    )
    if view.total and view.state in ("training", "embedding", "halted"):
        st.progress(min(view.done / view.total, 1.0), plain(view.message))
    else:
        st.markdown(plain(f"{view.message[:1].upper()}{view.message[1:]}."))
    if view.serving is not None:
        st.markdown(f"Questions come from the embeddings of **{plain(view.serving)}**.")
    if view.last is not None:
        st.markdown(plain(in_words(view.last)))


def in_words(found: ChallengerRound) -> str:
    """What came of a round, in two sentences."""
    stays = "Not significantly better: the head stays"
    outcome = "It was significantly better and took over" if found.better else stays
    notes = "".join(f" {note}" for note in found.notes)
    right, head = percent(found.accuracy.value, 1), percent(found.head.value, 1)
    return (
        f"Round {found.round}, at {found.labels:,} labels: {right} right "
        f"({interval_in_words(found.accuracy)}) against the head's {head}, on "
        f"{found.accuracy.n:,} {GROUNDS[found.ground]} (McNemar's {p_in_words(found.p)}). {outcome}.{notes}"
    )
