"""The script that Streamlit runs for every page: navigation, the bar, and the chosen page."""

from __future__ import annotations

import streamlit as st

from labeler import service
from labeler.ui import data, disagreements, finish, grid, label, map, models, progress, review, settings
from labeler.ui.parts import components

PAGES = {
    "label": st.Page(label.page, title="Label", icon=":material/label:", url_path="label", default=True),
    "grid": st.Page(grid.page, title="Grid", icon=":material/grid_view:", url_path="grid"),
    "map": st.Page(map.page, title="Map", icon=":material/scatter_plot:", url_path="map"),
    "review": st.Page(review.page, title="Review", icon=":material/fact_check:", url_path="review"),
    "progress": st.Page(progress.page, title="Progress", icon=":material/show_chart:", url_path="progress"),
    "models": st.Page(models.page, title="Models", icon=":material/model_training:", url_path="models"),
    "disagreements": st.Page(
        disagreements.page, title="Disagreements", icon=":material/balance:", url_path="disagreements"
    ),
    "data": st.Page(data.page, title="Data", icon=":material/add_photo_alternate:", url_path="data"),
    "finish": st.Page(finish.page, title="Finish", icon=":material/flag:", url_path="finish"),
    "settings": st.Page(settings.page, title="Settings", icon=":material/tune:", url_path="settings"),
}

st.set_page_config(
    page_title=f"{service.current().identity.name} · Flywheel",
    page_icon=str(components.FOLDER / "icon.svg"),
    layout="wide",
)
st.html(components.FOLDER / "page.css")
chosen = st.navigation(list(PAGES.values()), position="top")
pressed = components.bar(asks=chosen != PAGES["label"])  # the card has its own field for the name
if pressed == "stop" and chosen != PAGES["finish"]:
    st.switch_page(PAGES["finish"])
chosen.run()
