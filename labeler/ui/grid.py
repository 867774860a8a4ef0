"""The page Grid, where many images are labeled at once.

Its URL says what it shows, so that other pages can link to it. The parameters are those of `View`:
`/grid?label=3&predicted=5` (a cell of the confusion matrix), `/grid?cluster=7` (a group), `/grid?similar_to=17`,
`/grid?search=beach`, `/grid?images=4,8,15`, `/grid?status=flagged`, `/grid?by=uncertainty`.
"""

from __future__ import annotations

import streamlit as st

from labeler import service
from labeler.ui.parts import components


def page() -> None:
    """Draw the page."""
    labeler = service.current()
    components.gallery(labeler.project(), labeler.settings, st.query_params.to_dict())
