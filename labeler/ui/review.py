"""The page Review, where possibly wrong labels are judged, most doubtful first; further lists are below."""

from __future__ import annotations

from time import monotonic

import streamlit as st

from labeler import service
from labeler.ui.parts import components
from labeler.ui.parts.wording import time_left
from shared.wire.review import Oddities

REFRESH_SECONDS = 3
ASKED = "odd images asked for"  # session key
COMPLETE = "odd images complete"  # session key: all images were checked
BEGAN = "odd images begun"  # session key: when checking began, and how many were checked then


def page() -> None:
    """Draw the page."""
    labeler = service.current()
    components.review(labeler.project(), labeler.settings)
    if not st.session_state.get(ASKED):
        st.button("Find copies and odd images", icon=":material/image_search:", on_click=_ask)
    elif st.session_state.get(COMPLETE):
        _looked()
    else:
        _looking()


def _ask() -> None:
    st.session_state[ASKED] = True


@st.fragment(run_every=REFRESH_SECONDS)
def _looking() -> None:
    """Redraw regularly while images are being checked."""
    _draw(complete=False)


@st.fragment
def _looked() -> None:
    """Redraw only on changes once all images are checked."""
    components.redraw("oddities", ["labels", "images", "versions"], soonest=REFRESH_SECONDS)
    _draw(complete=True)


def _draw(*, complete: bool) -> None:
    found = service.current().oddities.lists()
    if (found.measured >= found.total) != complete:
        st.session_state[COMPLETE] = not complete
        st.rerun()
    st.subheader("Copies and odd images", anchor=False)
    if found.measured < found.total:
        then, before = st.session_state.setdefault(BEGAN, (monotonic(), found.measured))
        done = found.measured - before
        left = (monotonic() - then) / done * (found.total - found.measured) if done else None
        words = f"{found.measured:,} of {found.total:,} images checked{time_left(left)}"
        st.progress(found.measured / found.total, text=words)
    lists = _lists(found)
    st.markdown("\n".join(lists) if lists else "None so far." if found.measured < found.total else "There are none.")


def _lists(found: Oddities) -> list[str]:
    pairs = [image_id for pair in found.differing for image_id in pair]
    kinds = {
        "near copies of each other with different labels": pairs,
        "used for training, although a near copy measures accuracy": found.across,
        "very dark": found.dark,
        "blurred": found.blurred,
        "tiny": found.tiny,
        "of extreme shape": found.extreme,
    }
    return [
        f"- [{len(ids):,} image{'s' if len(ids) > 1 else ''} {what}](/grid?status=any&images={','.join(map(str, ids))})"
        for what, ids in kinds.items()
        if ids
    ]
