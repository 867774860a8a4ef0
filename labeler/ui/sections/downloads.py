"""Downloads: labels in each format, all or filtered, on Finish; files of a saved version on Models."""

from __future__ import annotations

from urllib.parse import quote, urlencode

import streamlit as st

from labeler import service
from labeler.transfer.formats import FORMATS
from labeler.transfer.rows.exported import Wanted
from labeler.ui.parts import components
from labeler.ui.parts.wording import BOX_EXPORTS, EXPORTS
from shared.figures import many
from shared.tasks.registry import task_named
from shared.wire.models import ModelVersion
from shared.wire.project import Project

ALL = "all"
SPLITS = {ALL: "all", "train": "training", "validation": "validation", "test": "test"}
STATUSES = {ALL: "all", "labeled": "labeled", "unlabeled": "no label", "skipped": "skipped", "flagged": "flagged"}
MODELS: dict[str, tuple[str, str]] = {
    "zip": ("Everything (zip)", "weights as safetensors, configuration, the labels that it learned from, and its card"),
    "safetensors": ("Weights (safetensors)", "only the weights file"),
    "onnx": ("ONNX", "for ONNX Runtime and most other tools; creating it takes seconds to minutes"),
    "torch": ("torch.export", "for PyTorch without Flywheel; creating it takes seconds to minutes"),
    "fastai": ("fastai", "a Learner with its export"),
    "card": ("Model card", "what it is, what it learned from, how good it is"),
    "csv": ("Its labels (CSV)", "the labels that it learned from"),
}
"""Export format of a version → its name and description."""


def labels(project: Project) -> None:
    """Filters, the number of images that match, and a link for each format."""
    wanted = _filters(project)
    counted = service.current().exports.count(Wanted(**wanted))  # type: ignore[arg-type]
    task = task_named(project.task)
    st.write(
        f"{many(counted.labeled, task.counted)}, with the split of each image, in a file that other tools read. Tables "
        f"contain {many(counted.images, 'image')}, formats with photos skip those without an answer."
    )
    written = service.current().exports.formats()
    names = BOX_EXPORTS if task.by_box else EXPORTS
    for name in written:
        title, use = names.get(name, (name, ""))
        button, words = st.columns([1, 3], vertical_alignment="center")
        address = f"/api/export?{urlencode({'format': name, **wanted})}"
        button.link_button(title, address, icon=":material/download:", width="stretch", disabled=not counted.images)
        words.write(use)
    if left_out := [EXPORTS.get(name, (name, ""))[0] for name in FORMATS if name not in written]:
        why = "they have no place for boxes" if task.by_box else "they have room for one class per image only"
        st.caption(f"Not offered, because {why}: {'; '.join(left_out)}.")
    components.downloads("labels")


def version(chosen: ModelVersion) -> None:
    """A link for each file of a version."""
    for name, (title, use) in MODELS.items():
        if name == "fastai" and not chosen.opens_in_fastai:
            continue
        button, words = st.columns([1, 3], vertical_alignment="center")
        address = f"/api/models/{quote(chosen.version, safe='')}/export?format={name}"
        button.link_button(title, address, icon=":material/download:", width="stretch")
        words.write(use)
    components.downloads("models")


def _filters(project: Project) -> dict[str, str]:
    """The chosen filters, as parameters of `GET /api/export`."""
    people = [each.name for each in service.current().people()]
    names = [each.name for each in project.classes]
    columns = st.columns(4)
    given = {
        "label": columns[0].selectbox("Class", [ALL, *names], key="download class"),
        "annotator": columns[1].selectbox("Labeled by", [ALL, *people], key="download annotator"),
        "split": columns[2].selectbox("Split", list(SPLITS), format_func=SPLITS.__getitem__),
        "status": columns[3].selectbox("Status", list(STATUSES), format_func=STATUSES.__getitem__),
    }
    return {name: value for name, value in given.items() if value not in (None, ALL)}
