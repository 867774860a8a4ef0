"""A choice among names that come and go, for instance saved versions, which keeps what the person chose."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st


def newest_or_chosen(label: str, names: Sequence[str], *, key: str) -> str:
    """A selectbox among `names`, newest first; returns the selected one.

    It shows the newest name until the person chooses one, and again if the chosen one is gone.
    """
    if not st.session_state.get(_held(key)) or st.session_state.get(key) not in names:
        st.session_state[key] = names[0]
        st.session_state[_held(key)] = False
    return st.selectbox(label, names, key=key, on_change=hold, args=(key,)) or names[0]


def hold(key: str) -> None:
    """Keep the name that is selected now, because the person chose it or acts on it."""
    st.session_state[_held(key)] = True


def _held(key: str) -> str:
    return f"{key} held"
