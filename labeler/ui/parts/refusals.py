"""Why the last press had no effect, as an error on the page.

A page draws itself anew whenever something that it shows changes, so a refusal that is shown once may be gone before
anybody has read it. It stays for a while instead, and the next press of the same part takes it away.
"""

from __future__ import annotations

from time import monotonic

import streamlit as st

from labeler.ui.parts.wording import plain

SHOWN_SECONDS = 60.0


def refuse(part: str, why: str) -> None:
    """Show `why` in this part of the page from now on. `part` is the session key."""
    st.session_state[part] = (why, monotonic())


def forget(part: str) -> None:
    """Show nothing any more, because something was pressed again."""
    st.session_state.pop(part, None)


def show(part: str) -> None:
    """Draw the refusal, unless it is old."""
    why, since = st.session_state.get(part, ("", 0.0))
    if why and monotonic() - since < SHOWN_SECONDS:
        st.error(plain(why), icon=":material/error:")
