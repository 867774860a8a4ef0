"""A refusal stays on the page while the page is drawn anew."""

from __future__ import annotations

from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from labeler.ui.parts import refusals


def script() -> None:
    import streamlit as st

    from labeler.ui.parts import refusals

    st.button("Train", on_click=refusals.refuse, args=("training", "The version needs a name."))
    st.button("Train well", on_click=refusals.forget, args=("training",))
    refusals.show("training")


def said(page: AppTest) -> list[str]:
    return [each.value.replace("\\", "") for each in page.error]  # no word of it is markup


@pytest.fixture
def page() -> Any:
    return AppTest.from_function(script, default_timeout=60).run()


def test_a_refusal_stays_when_the_page_is_drawn_anew_and_goes_with_the_next_press(page: Any) -> None:
    assert said(page) == []
    page.button[0].click().run()
    assert said(page) == ["The version needs a name."]
    assert said(page.run()) == ["The version needs a name."]
    page.button[1].click().run()
    assert said(page) == []


def test_an_old_refusal_goes_by_itself(page: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    page.button[0].click().run()
    monkeypatch.setattr(refusals, "SHOWN_SECONDS", 0.0)
    assert said(page.run()) == []
