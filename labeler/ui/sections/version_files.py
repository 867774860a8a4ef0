"""The section of the page Models where a saved version is downloaded or deleted."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from labeler import service
from labeler.trainer_link.controls import Trainer
from labeler.ui.parts import choices
from labeler.ui.parts.wording import plain
from labeler.ui.sections import downloads
from shared.figures import many, megabytes
from shared.wire.models import ModelList, ModelVersion

Do = Callable[[Callable[[Trainer], object]], None]
"""Run a button's request to the trainer, and show on the page if it failed."""
CHOSEN = "models version"
SURE = "models to delete"  # session key: the version to confirm


def show(models: ModelList, do: Do) -> None:
    """Draw the section; nothing if no version is saved."""
    if not models.models:
        return
    st.subheader("Download or delete", anchor=False)
    versions = {each.version: each for each in reversed(models.models)}
    chosen = versions[choices.newest_or_chosen("Version", list(versions), key=CHOSEN)]
    with st.expander(f"Download {plain(chosen.version)}", key=f"download {chosen.version}"):
        downloads.version(chosen)
    if st.session_state.get(SURE) != chosen.version:
        st.button("Delete …", icon=":material/delete:", on_click=_ask, args=(chosen.version,))
        return
    st.warning(in_words(chosen, models, service.current().task.counted), icon=":material/delete:")
    with st.container(horizontal=True):
        st.button(f"Delete {plain(chosen.version)}", type="primary", on_click=_delete, args=(chosen.version, do))
        st.button("Keep it", on_click=_ask, args=(None,))


def in_words(version: ModelVersion, models: ModelList, counted: str) -> str:
    """Describe which versions would be deleted and which kept. `counted` is what a version learns from."""
    others = len(models.models) - 1
    network = (version.all_bytes or version.bytes) - version.bytes
    classes = f"{len(version.classes):,} {'class' if len(version.classes) == 1 else 'classes'}"
    below = f" The network below it ({megabytes(network)}) stays." if network else ""
    return (
        f"This deletes version **{plain(version.version)}**: its file of {megabytes(version.bytes)}, which learned "
        f"from {many(version.labels, counted)} of {classes}. It cannot be undone.{below} "
        f"No label and no photo is deleted, and {many(others, 'other version')} "
        f"{'stays' if others == 1 else 'stay'}."
    )


def _ask(version: str | None) -> None:
    choices.hold(CHOSEN)  # a version that is saved meanwhile must not take its place
    st.session_state[SURE] = version


def _delete(version: str, do: Do) -> None:
    st.session_state[SURE] = None
    do(lambda trainer: trainer.delete_model(version))
