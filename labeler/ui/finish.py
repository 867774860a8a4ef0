"""The page Finish: saved files, model quality, downloads, and next steps."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import streamlit as st

from labeler import service
from labeler.ui.parts import components
from labeler.ui.parts.wording import TRAINER, plain
from labeler.ui.sections import downloads, waiting
from shared.figures import ENOUGH, many, not_measured, shown
from shared.settings.project_file import tidy
from shared.tasks.task import Task
from shared.wire.evaluation import Evaluation
from shared.wire.project import ImageCounts, Project
from shared.wire.trainer import Saved, TrainerStatus

if TYPE_CHECKING:
    import altair as alt

SOONEST_SECONDS = 2


def page() -> None:
    """Draw the page."""
    _state()
    _outcome()


@st.fragment
def _outcome() -> None:
    components.redraw("finish", ["labels", "images", "accuracy", "trainer"], soonest=SOONEST_SECONDS)
    labeler = service.current()
    project = labeler.project()
    status = labeler.trainer.status()
    evaluations = shown(labeler.progress().evaluations)
    if status is not None and status.saved is not None:
        _saved(status.saved)
    if evaluations:
        _figures(evaluations, project.splits["test"])
    _exports(project)
    st.subheader("What next", anchor=False)
    st.markdown("\n".join(f"- {each}" for each in _next(labeler, project, status, evaluations)))


@st.fragment
def _state() -> None:
    components.redraw("state", ["images", "trainer"], soonest=0)  # at once: the bar names the state, too
    labeler = service.current()
    project, status = labeler.project(), labeler.trainer.status()
    waiting.show(project, status)
    name, what = TRAINER[project.trainer.state]
    if project.trainer.state == "stopping":
        st.info(f"**{name}:** {what}.", icon=":material/hourglass_top:")
    elif project.trainer.state == "stopped":
        why = f": {status.stop_reason}" if status and status.stop_reason else ""
        st.success(f"**{name}**{plain(why)}.", icon=":material/check:")
    elif status is not None:
        st.write(
            "Press **Stop** above when you are done: the model learns the last labels and is measured once more, and "
            "model and dataset are saved. You can resume at any time."
        )


def _saved(saved: Saved) -> None:
    st.subheader("What was saved", anchor=False)
    st.markdown(f"Version **{plain(saved.model_version)}**, {saved.at:%Y-%m-%d %H:%M} UTC: {plain(saved.reason)}")
    st.code(f"{saved.model}\n{saved.dataset}", language=None, wrap_lines=True)
    st.caption(
        "The model's weights (safetensors, no code), and the labels that it learned from. `model.json` beside "
        "them says how to use it and how good it is. Nothing is ever overwritten."
    )


def _figures(evaluations: list[Evaluation], images: ImageCounts) -> None:
    from labeler.ui.charts import (
        box_figures,
        own_figures,
        progress_charts,  # pandas and altair take a second: not before the first figure is drawn
        several_classes,
    )

    latest = evaluations[-1]
    st.subheader("How good it is", anchor=False)
    task = service.current().task
    drawn: alt.LayerChart | alt.FacetChart | None
    match task:
        case Task(by_class=True):
            words, rows = several_classes.in_words(latest, images), several_classes.final_figures(latest)
            name, drawn = "Macro F1", several_classes.curve(evaluations, "macro_f1")
            csv = several_classes.curve_csv(evaluations)
        case Task(by_box=True):
            words, rows = box_figures.in_words(latest, images), box_figures.final_figures(latest)
            name, drawn = box_figures.METRICS["map_50"], box_figures.curve(evaluations, "map_50")
            csv = box_figures.curve_csv(evaluations)
        case Task(own_metrics=own) if own:
            words, rows = own_figures.in_words(latest, own), own_figures.final_figures(latest, own)
            metric, name = next(iter(own.items()))
            drawn, csv = own_figures.curve(evaluations, metric, own), progress_charts.metrics_csv(evaluations, own)
        case _:
            words, rows = progress_charts.in_words(latest, images), progress_charts.final_figures(latest)
            name, drawn = "Accuracy", progress_charts.accuracy_curve(evaluations)
            csv = progress_charts.curve_csv(evaluations)
    st.write(words)
    curve, beside = st.columns([3, 2], gap="large")
    with curve:
        if drawn is not None:
            components.figure(drawn, alt=f"{name} against labels")
    beside.table(rows, border="horizontal", hide_index=True)
    curve.download_button(
        "Download curve (CSV)",
        csv,
        "flywheel-curve.csv",
        "text/csv",
        icon=":material/download:",
        on_click="ignore",
    )


def _exports(project: Project) -> None:
    st.subheader("Download your labels", anchor=False)
    if not project.images.labeled:
        st.write("There are no labels yet. Give the first one on the page Label.")
        return
    downloads.labels(project)


def _next(
    labeler: service.Service, project: Project, status: TrainerStatus | None, evaluations: list[Evaluation]
) -> list[str]:
    """Sentences about next steps, most urgent first."""
    said = []
    boxes = labeler.task.by_box
    differ = labeler.disagreements.page(limit=1).open
    if differ:
        said.append(f"Annotators disagree on {many(differ, 'image')}: settle this on the page Disagreements.")
    if evaluations:
        from labeler.ui.charts import forecast

        said += forecast.sentences(evaluations, project.splits["train"], labeler.task.counted)
    else:
        latest, name = labeler.evaluations.last, labeler.task.metric_name
        words = not_measured(latest.test_labels if latest is not None else 0)
        test_images = project.splits["test"].total
        if latest is None and not (test_images or labeler.settings.test_set_frac):
            said.append(f"{name} is not measured: no image is a test image. Progress says how to change that.")
        elif test_images < ENOUGH and project.scanning.running:
            said.append(f"{name} is {words}. The image folder is still being read: Progress says how far.")
        elif test_images < ENOUGH:
            said.append(f"{name} is {words}. Too few images are test images: Progress says how to change that.")
        else:
            said.append(f"{name} is {words}. Keep labeling until the page Progress shows it.")
    if status is not None and status.state == "stopped":
        said.append(
            "Press **Resume** to continue labeling: the same reason does not stop it again."
            if project.remaining
            else "Add photos on the page Data, and press **Resume**, to continue labeling."
        )
    if status is not None and status.model_version is not None and not boxes:
        said.append(
            f"Get predictions, even while stopped: `curl -F images=@photo.jpg {project.trainer.url}/predict` returns "
            + _predicted(labeler.task)
        )
    command = shlex.join(["flywheel", "backup", "FOLDER", "--workspace", str(tidy(labeler.settings.workspace))])
    said.append(f"Back up everything, even while it runs: `{command}`.")
    return said


def _predicted(task: Task) -> str:
    if task.which_classes is None:
        return "the likeliest answers and their probabilities."
    return "the classes and the probability of each." if task.by_class else "a class and its probabilities."
