"""A choice among names that come and go."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest


def script() -> None:
    import streamlit as st

    from labeler.ui.parts import choices

    choices.newest_or_chosen("Version", st.session_state["names"], key="version")


def with_names(page: AppTest, *names: str) -> str:
    """What is selected once there are these names."""
    page.session_state["names"] = list(names)
    assert not page.run().exception
    return str(page.selectbox[0].value)


def test_it_shows_the_newest_until_a_name_is_chosen_and_again_when_that_one_is_gone() -> None:
    page = AppTest.from_function(script)
    assert with_names(page, "b", "a") == "b"
    assert with_names(page, "c", "b", "a") == "c"
    page.selectbox[0].select("a").run()
    assert with_names(page, "d", "c", "b", "a") == "a"
    assert with_names(page, "d", "c", "b") == "d"
    assert with_names(page, "e", "d", "c", "b") == "e"
