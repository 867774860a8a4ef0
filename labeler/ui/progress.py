"""The page Progress: accuracy on the test sample that no model learns from, per-class figures, and pace."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from labeler import service
from labeler.ui.parts import components, wording
from labeler.ui.parts.palette import own_colours
from labeler.ui.parts.wording import plain
from labeler.ui.sections import mistakes, waiting
from shared.figures import many, percent, rounded, shown
from shared.wire.evaluation import Evaluation, Progress
from shared.wire.project import Project

SOONEST_SECONDS = 5
SAVE = "Hover over a chart, or reach it by Tab, to save it as PNG, or to see its numbers and save them as CSV."


def page() -> None:
    """Draw the page."""
    waiting.section()
    _figures()


@st.fragment
def _figures() -> None:
    from labeler.ui.charts import (
        box_figures,
        measured_figures,
        own_figures,
        progress_charts,  # slow to import: only when the first figure is drawn
        several_classes,
        unmeasured,
    )

    components.redraw("progress", ["labels", "images", "accuracy", "trainer", "classes"], soonest=SOONEST_SECONDS)
    labeler = service.current()
    project, progress = labeler.project(), labeler.progress()
    evaluations = shown(progress.evaluations)
    status = labeler.trainer.status()
    several, boxes, own = labeler.task.by_class, labeler.task.by_box, labeler.task.own_metrics
    labeled, *figures, pace = st.columns(4 if several or boxes else 3)
    labeled.metric("Labeled", f"{project.images.labeled:,} of {project.images.total:,}")
    if several or boxes:
        by_task = box_figures if boxes else several_classes
        for (metric, what), figure in zip(by_task.HELP.items(), figures, strict=True):
            latest = evaluations[-1] if evaluations else None
            figure.metric(by_task.METRICS[metric], measured_figures.value_of(latest, metric), help=what)
    elif own:
        metric, name = next(iter(own.items()))
        figures[0].metric(name, own_figures.value(evaluations[-1] if evaluations else None, metric))
    else:
        measured = percent(evaluations[-1].accuracy.value, 1) if evaluations else "–"
        figures[0].metric("Accuracy", measured, help=progress_charts.ACCURACY_HELP)
    pace.metric(_pace_of(labeler), rounded(progress.labels_per_minute))
    if status is not None and (used := status.embedding.resolved) is not None:
        st.caption(f"Backbone: {plain(used.sentence)}.")
    if status is not None and (again := status.embedding.second_look) is not None:
        if again.state == "embedding":
            st.progress(again.done / max(again.total, 1), wording.second_look(again))
        else:
            st.caption(plain(wording.second_look(again)))
    if not evaluations:
        st.info(
            unmeasured.nothing_measured(
                labeler.settings,
                progress.evaluations,
                project.splits["test"].total,
                images=project.images.total,
                unlabeled=project.images.unlabeled,
                name=labeler.task.metric_name,
                counted=labeler.task.counted,
                scanning=project.scanning,
            ),
            icon=":material/hourglass_empty:",
        )
    elif several:
        _measured_by_class(project, progress, evaluations)
    elif boxes:
        _measured_boxes(project, progress, evaluations)
    elif own:
        _measured_by_task(project, own, evaluations)
    else:
        _measured(project, progress, evaluations)
    of_classes = "Labeled images by class" if boxes else "Labels by class"
    st.subheader(of_classes if labeler.task.which_classes else "Labels", anchor=False)
    if progress.labels:
        _labels(labeler, project, progress)
    else:
        st.write("None yet. Give the first one on the page Label.")
    if (times := progress_charts.round_times(progress.evaluations)) is not None:
        st.subheader("Time per round", anchor=False)
        st.write("From a batch of labels to a new order of questions, by step, and the time of the evaluation.")
        components.figure(times, alt="Milliseconds of each round, by step")


def _measured(project: Project, progress: Progress, evaluations: list[Evaluation]) -> None:
    from labeler.ui.charts import confusion, forecast, progress_charts

    latest = confusion.in_order(evaluations[-1], project.classes)
    st.write(progress_charts.in_words(latest, project.splits["test"]))
    curve = progress_charts.accuracy_curve(evaluations)
    components.figure(forecast.with_outlook(curve, evaluations), alt="Accuracy against labels")
    _download(progress_charts.curve_csv(evaluations))
    st.markdown("\n".join(f"- {sentence}" for sentence in _outlook(evaluations, project)))
    st.subheader("Classes on the test sample", anchor=False)
    if latest.active:
        st.write(progress_charts.LEFT_OUT)
    st.table(progress_charts.class_table(latest, progress.labels_per_class), border="horizontal", hide_index=True)
    _confusion(latest, {each.id: each.colour for each in project.classes if each.colour})
    if latest.calibration:
        st.subheader("Calibration", anchor=False)
        st.write(progress_charts.calibration_in_words(latest))
        components.figure(progress_charts.calibration(latest), alt="Accuracy against confidence")


def _measured_by_class(project: Project, progress: Progress, evaluations: list[Evaluation]) -> None:
    from labeler.ui.charts import confusion, forecast, several_classes

    latest = confusion.in_order(evaluations[-1], project.classes)
    st.write(several_classes.in_words(latest, project.splits["test"]))
    names = several_classes.METRICS
    metric = st.segmented_control("Curve", list(names), default="macro_f1", format_func=names.__getitem__) or "macro_f1"
    curve = several_classes.curve(evaluations, metric)
    if curve is None:
        st.write("Not measured yet: no test image has enough labels for it.")
    else:
        drawn = forecast.with_outlook(curve, evaluations) if metric == "macro_f1" else curve
        components.figure(drawn, alt=f"{names[metric]} against labels")
    _download(several_classes.curve_csv(evaluations))
    st.markdown("\n".join(f"- {sentence}" for sentence in _outlook(evaluations, project)))
    st.subheader("Classes on the test sample", anchor=False)
    st.table(several_classes.class_table(latest, progress.labels_per_class), border="horizontal", hide_index=True)
    st.caption(several_classes.explained(latest))
    confused = several_classes.pairs(
        latest.confused,
        project.classes,
        "{one} missed, {other} predicted instead",
        "/grid?label={one}&predicted={other}",
    )
    st.subheader("Classes that are confused", anchor=False)
    st.markdown("\n".join(confused) if confused else "No test image has one class predicted in place of another.")
    if confused:
        st.caption(
            "Counts of test images, which are never shown again. A number opens labeled training images like them."
        )
    together = several_classes.pairs(latest.together, project.classes, "{one} and {other}")
    if together:
        st.subheader("Classes that go together", anchor=False)
        st.markdown("\n".join(together))


def _measured_boxes(project: Project, progress: Progress, evaluations: list[Evaluation]) -> None:
    from labeler.ui.charts import box_figures, confusion, forecast

    latest = confusion.in_order(evaluations[-1], project.classes)
    st.write(box_figures.in_words(latest, project.splits["test"]))
    names = box_figures.METRICS
    metric = st.segmented_control("Curve", list(names), default="map_50", format_func=names.__getitem__) or "map_50"
    curve = box_figures.curve(evaluations, metric)
    if curve is not None:
        drawn = forecast.with_outlook(curve, evaluations) if metric == "map_50" else curve
        components.figure(drawn, alt=f"{names[metric]} against labeled images")
    _download(box_figures.curve_csv(evaluations))
    st.markdown("\n".join(f"- {sentence}" for sentence in _outlook(evaluations, project)))
    st.subheader("Classes on the test sample", anchor=False)
    st.table(box_figures.class_table(latest, progress.labels_per_class), border="horizontal", hide_index=True)
    st.caption(box_figures.explained(latest))
    confused = box_figures.confused(latest, project.classes)
    st.subheader("Classes that are confused", anchor=False)
    st.markdown("\n".join(confused) if confused else "No suggested box in a test image has the wrong class.")
    mistakes.section()


def _measured_by_task(project: Project, own: Mapping[str, str], evaluations: list[Evaluation]) -> None:
    from labeler.ui.charts import own_figures, progress_charts

    st.write(own_figures.in_words(evaluations[-1], own))
    first = next(iter(own))
    metric = st.segmented_control("Curve", list(own), default=first, format_func=own.__getitem__) or first
    curve = own_figures.curve(evaluations, metric, own)
    if curve is not None:
        components.figure(curve, alt=f"{own[metric]} against labels")
    _download(progress_charts.metrics_csv(evaluations, own))
    st.markdown("\n".join(f"- {sentence}" for sentence in _outlook(evaluations, project)))


def _outlook(evaluations: list[Evaluation], project: Project) -> list[str]:
    from labeler.ui.charts import forecast

    return forecast.sentences(evaluations, project.splits["train"], service.current().task.counted)


def _download(table: bytes) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.download_button(
            "Download curve (CSV)",
            table,
            "flywheel-curve.csv",
            "text/csv",
            icon=":material/download:",
            on_click="ignore",
        )
        st.caption(SAVE)


def _confusion(latest: Evaluation, own: dict[int, str]) -> None:
    from labeler.ui.charts import confusion

    st.subheader("Confusion matrix", anchor=False)
    mixed_up = confusion.confusions(latest)
    if not mixed_up:
        st.write("No test image is misclassified.")
    else:
        st.write(
            "Counts of test images, which are never shown again. A number opens **labeled training images** with that "
            "label and that prediction: wrong labels are often among them."
        )
    table = confusion.matrix(latest, own)
    if table:
        st.html(table)
    elif mixed_up:
        st.markdown(
            "\n".join(
                f"- {plain(truth)} predicted as {plain(predicted)}: [{count}]({link})"
                for truth, predicted, count, link in mixed_up
            )
        )


def _pace_of(labeler: service.Service) -> str:
    return f"{labeler.task.counted}s per minute".capitalize()


def _labels(labeler: service.Service, project: Project, progress: Progress) -> None:
    from labeler.ui.charts import progress_charts

    own = own_colours(project.classes)

    stretches = labeler.history()
    here = stretches[-1].labels if stretches else 0
    if progress.labels > here:
        st.write(
            f"{many(progress.labels, labeler.task.counted)}: {here:,} given here, {progress.labels - here:,} imported."
        )
    elif not labeler.task.which_classes:
        st.write(f"{many(progress.labels, labeler.task.counted)}.")
    if labeler.task.which_classes:
        counts, history = st.columns(2, gap="large")
        with counts:
            bars = progress_charts.label_counts(progress.labels_per_class, own, counted=labeler.task.counted)
            components.figure(bars, alt=f"{labeler.task.counted}s of each class".capitalize())
        if len(stretches) > 1:
            with history:
                areas = progress_charts.label_history(stretches, own, counted=labeler.task.counted)
                components.figure(areas, alt=f"Share of each class in the {labeler.task.counted}s given here")
    people = labeler.people()
    if len(people) > 1:
        st.table(
            [
                {"Who": plain(each.name), "Answers": f"{each.answers:,}", _pace_of(labeler): rounded(each.per_minute)}
                for each in people
            ],
            border="horizontal",
            hide_index=True,
        )
