"""The page Map, which shows images by visual similarity; a selection drawn around them opens in the grid."""

from __future__ import annotations

import streamlit as st

from labeler import service
from labeler.ui import grid
from labeler.ui.parts import components


def page() -> None:
    """Draw the page."""
    chosen = components.chart(service.current().project())
    if chosen:
        images = ",".join(map(str, chosen))
        st.switch_page(st.Page(grid.page, url_path="grid"), query_params={"images": images})
