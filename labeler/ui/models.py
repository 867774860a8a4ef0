"""The page Models: save a version, compare two, promote the better one.

Images that measure accuracy are never shown. Images on which two versions differ are shown only if they are train
images; for the others, the page has only numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from html import escape
from typing import get_args

import streamlit as st
from pydantic import ValidationError

from labeler import service
from labeler.errors import Problem
from labeler.explore import model_differences
from labeler.trainer_link.controls import Trainer
from labeler.ui.parts import choices, components, refusals
from labeler.ui.parts import wording as words
from labeler.ui.parts.wording import plain, time_left
from labeler.ui.sections import challenger, version_files
from shared.figures import METRIC_NAMES, has_figures, many, percent
from shared.images.finding import SUFFIXES
from shared.wire.jobs import ENDED, Comparison, ComparisonRequest, Job
from shared.wire.models import ModelList, Prediction, TrainRequest, Weights

SOONEST_SECONDS = 2
MOST_TRIED = 20
DOUBTED = "models doubted"  # session key: version to promote, and its warning
PROBLEM = "models problem"  # session key: why the last press had no effect
TRAINING = "models training"  # session key: why the last training did not begin, which its form shows
NAME, BASE, CANDIDATE = "models name", "models base", "models candidate"
PROMOTED, ASKED = "models promoted", "models asked"
SPLIT, GAIN, SIGNIFICANT = "models split", "models gain", "models significant"
SPLITS = {
    "test": "test images (how good they are)",
    "validation": "validation images (which to choose)",
}


def page() -> None:
    """Draw the page."""
    trainer = service.current().trainer
    with st.container():  # always there: a page whose parts move up or down closes what is open on it
        refusals.show(PROBLEM)
    components.redraw("versions", ["versions"], soonest=SOONEST_SECONDS)
    try:
        models = trainer.models()
    except Problem as problem:
        name, what = words.away(service.current().settings.workspace, service.current().trainer.away)
        st.warning(
            f"**{name}.** {plain(problem.detail)} {plain(what[:1].upper() + what[1:])}.", icon=":material/cloud_off:"
        )
        st.button("Try again")
        return
    _running()
    _versions(models)
    version_files.show(models, _do)
    if len(models.models) > 1:
        st.subheader("Compare two", anchor=False)
        _ask(models)
    challenger.show()
    _class_names()
    with st.expander("Try a model on an image", key="try a model"):
        _try(models)
    with st.expander("Train a new model", key="train a model"):
        _train(models)
    _outcome()


def _class_names() -> None:
    """How useful the class names are, if a text network is in use."""
    status = service.current().trainer.status()
    if status is None or status.class_names is None or status.class_names.state == "off":
        return
    st.subheader("Class names as a first guess", anchor=False)
    st.markdown(plain(status.class_names.message))


def _several() -> bool:
    """Whether an image may have several classes."""
    return service.current().task.by_class


def _boxes() -> bool:
    """Whether an image has boxes."""
    return service.current().task.by_box


def _versions(models: ModelList) -> None:
    from labeler.ui.charts import comparison  # pandas and altair take a second

    if models.models:
        table = comparison.version_table(models, several=_several(), boxes=_boxes())
        st.table(table, border="horizontal", hide_index=True)
    else:
        st.info("No version is saved yet. Press Stop, or save the current model under a name.", icon=":material/save:")
    for each in models.unreadable:
        st.warning(f"Refused: {plain(each.reason)}", icon=":material/block:")
    come = "questions and suggested boxes" if _boxes() else "questions"
    if models.promoted:
        name = plain(models.promoted)
        st.caption(f"Version **{name}** answers predictions; {come} always come from the current model.")
    else:
        both = f"Predictions{', ' if _boxes() else ' and '}{come}"
        st.caption(f"{both} come from the **current model**, which learns while you label.")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.text_input("Name", key=NAME, placeholder="letters, digits, dots and dashes", max_chars=100, width=300)
        st.button("Save current model", icon=":material/save:", on_click=_save)
        names = [each.version for each in reversed(models.models) if not each.promoted]
        if names:
            chosen = choices.newest_or_chosen("Promote", names, key=PROMOTED)
            st.button("Promote", icon=":material/upgrade:", on_click=_promote, args=(chosen,))
        if models.promoted:
            st.button("Back to the current model", on_click=_promote, args=("now",))
    if DOUBTED in st.session_state:
        _confirm(*st.session_state[DOUBTED])


def _confirm(version: str, warning: str) -> None:
    """Show the warning about a version to promote, until the user decides."""
    st.warning(plain(warning), icon=":material/warning:")
    with st.container(horizontal=True):
        st.button("Promote it anyway", on_click=_promote, args=(version, True))
        st.button("Keep the version in use", on_click=_promote_not)


def _ask(models: ModelList) -> None:
    names = [each.version for each in reversed(models.models)]
    one, other, where = st.columns(3)
    one.selectbox("A: the base", names, index=1, key=BASE)
    other.selectbox("B: the candidate", names, key=CANDIDATE)
    where.selectbox("On", list(SPLITS), format_func=SPLITS.__getitem__, key=SPLIT)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        metric = METRIC_NAMES[service.current().task.metric]
        st.number_input(f"Minimum gain in {metric} (points)", -100.0, 100.0, 0.0, 0.5, key=GAIN)
        test = "Its 95% interval must be above 0." if _several() or _boxes() else "McNemar's test must give p < 0.05."
        st.checkbox("The gain must be significant", key=SIGNIFICANT, help=test)
        st.button("Compare", type="primary", icon=":material/compare_arrows:", on_click=_compare)


def _try(models: ModelList) -> None:
    names = [each.version for each in reversed(models.models)]
    in_use = f"in use: {models.promoted or 'the current model'}"
    asked = st.selectbox("Ask", names, index=None, placeholder=in_use, key=ASKED)
    images = st.file_uploader("Drop images here", [each.removeprefix(".") for each in sorted(SUFFIXES)], True)
    if len(images) > MOST_TRIED:
        st.caption(f"Only the first {MOST_TRIED} of {len(images):,} images are predicted here.")
    for image in images[:MOST_TRIED]:
        try:
            (said,) = service.current().trainer.predict([image.getvalue()], asked).predictions
        except Problem as problem:
            st.error(f"{plain(image.name)} {plain(problem.detail)}", icon=":material/error:")
            continue
        picture, text = st.columns([1, 3], vertical_alignment="center")
        picture.image(image.getvalue(), width=160)
        likeliest = sorted(said.probabilities.items(), key=lambda each: -each[1])[:5]
        text.markdown(f"{in_words(said)}. {plain(image.name)}")
        text.caption(" · ".join(f"{plain(name)} {percent(share)}" for name, share in likeliest))


def in_words(said: Prediction) -> str:
    """What a model predicts for an image, as Markdown."""
    if said.boxes is not None:
        found = Counter(box.label for box in said.boxes).most_common()
        return f"**{plain(', '.join(f'{name}: {count:,}' for name, count in found) or 'No objects')}**"
    if said.labels is not None:
        return f"**{plain(', '.join(said.labels) or 'None of these')}**"
    return f"**{plain(said.label)}**, {percent(said.confidence)} sure"


def _train(models: ModelList) -> None:
    if _boxes():
        st.write(
            "Trains a whole detector on **all images with boxes** while you label, and saves it as a version: nothing "
            "in its network is frozen. Without a GPU, this takes minutes to hours. Boxes on the page Label come from "
            "the current model also after a promotion, because that one learns while you draw. Empty fields copy the "
            "base version, or are chosen for you. With the initial weights `base`, a saved version learns on."
        )
    else:
        st.write(
            "Trains a whole network on **all current labels** while you label, and saves it as a version. Empty "
            "fields copy the base version, or are chosen for you."
        )
    with st.form("train", border=False):
        name, base, weights = st.columns(3)
        versions = [each.version for each in reversed(models.models)]
        name.text_input("Name of the new version", max_chars=100, key=_field("name"))
        base.selectbox("Made from", versions, index=None, key=_field("base"))
        weights.selectbox("Initial weights", list(get_args(Weights)), key=_field("weights"))
        arch, size, epochs = st.columns(3)
        known = ("any timm name", "convnext_small, resnet18, …")
        if _boxes():
            known = ("of timm, or a detector of torchvision", "tf_efficientnet_lite0, fcos_resnet50_fpn, …")
        arch.text_input(f"Network ({known[0]})", placeholder=known[1], key=_field("architecture"))
        sizes = "A multiple of 32. Empty: that of the base version, or else 320." if _boxes() else None
        size.number_input("Image size (px)", 16, 1_024, None, help=sizes, key=_field("input_size"))
        epochs.number_input("Maximum epochs", 1, 1_000, None, key=_field("epochs"))
        st.checkbox("Allow horizontal flips (not for letters and digits)", value=True, key=_field("flip"))
        # A callback, because a page that is drawn anew at the moment of the press would never come to this line.
        st.form_submit_button("Train", icon=":material/model_training:", on_click=_begin_training)
    refusals.show(TRAINING)


def _field(name: str) -> str:
    return f"{TRAINING} {name}"


def _begin_training() -> None:
    fields = ("base", "weights", "architecture", "input_size", "epochs")
    given = {name: st.session_state[_field(name)] or None for name in fields} | {
        "flip": st.session_state[_field("flip")]
    }
    name = str(st.session_state[_field("name")] or "").strip()
    _do(lambda trainer: trainer.train(name, TrainRequest.model_validate(given)), TRAINING)


@st.fragment
def _running() -> None:
    """The progress of the current job, at the top: it was started further down, where its result will be shown."""
    components.redraw("running", ["jobs", "trainer"], soonest=SOONEST_SECONDS)
    try:
        jobs = service.current().trainer.jobs()
    except Problem:
        return  # already shown by the page
    waiting = [job for job in jobs if job.state not in ENDED]
    for job in reversed(waiting):
        said = job.progress
        doing = {"train": "Training", "compare": "Comparing"}.get(job.kind, "Working")
        message = said.message or ("starting" if job.state == "running" else "waiting")
        st.progress(min(said.done / (said.total or 1), 1.0), plain(f"{doing}: {message}{time_left(said.seconds_left)}"))
        st.button("Cancel", key=f"cancel {job.id}", on_click=_cancel, args=(job.id,))
    if not waiting and jobs and jobs[0].state == "failed":
        st.error(plain(jobs[0].error or ""), icon=":material/error:")


@st.fragment
def _outcome() -> None:
    components.redraw("jobs", ["jobs", "trainer"], soonest=SOONEST_SECONDS)
    try:
        jobs = service.current().trainer.jobs()
    except Problem:
        return  # already shown by the page
    if not jobs:
        return
    done = next((job for job in jobs if job.state == "done" and job.kind == "compare"), None)
    if done is not None:
        _show(done, Comparison.model_validate(done.result))


def _show(job: Job, found: Comparison) -> None:
    from labeler.ui.charts import comparison

    st.subheader(plain(f"{found.base.version} against {found.candidate.version}"), anchor=False)
    st.write(comparison.in_words(found))
    for reason, images in found.left_out.items():
        st.caption(f"Skipped: {many(images, 'image')} ({plain(reason)}).")
    table = comparison.score_table(found, several=_several(), boxes=_boxes())
    st.table(table, border="horizontal", hide_index=True)
    if found.base.curves and has_figures(found.base):
        curves, calibration = st.columns(2, gap="large")
        with curves:
            name = st.selectbox("Precision and recall of", comparison.class_names(found), key=f"class {job.id}")
            components.figure(comparison.curves(found, name), alt=f"Precision and recall: {name}")
        if found.base.calibration:
            with calibration:
                st.markdown("Calibration")
                components.figure(comparison.calibration(found), alt="Accuracy against confidence")
    if not found.recorded and not _boxes():
        _differing(found)


def _differing(found: Comparison) -> None:
    labeler = service.current()
    st.subheader("Where they differ", anchor=False)
    if labeler.visibility.hides_hints:
        st.caption("Hidden in blind mode, because predictions must not influence answers.")
        return
    st.write(
        f"They predict different classes for {len(found.differing):,} of {many(found.looked_at, 'training image')}, "
        "drawn at random. Images that measure accuracy are never shown."
    )
    shown = model_differences.shown(found.differing, labeler.gallery, labeler.visibility, components.annotator())
    if shown:
        st.html(f'<div style="display:flex; flex-wrap:wrap; gap:1rem">{"".join(map(_tile, shown))}</div>')
        ids = ",".join(str(each.said.image_id) for each in shown)
        st.link_button("Open them in the grid", f"/grid?images={ids}", icon=":material/grid_view:")


def _tile(each: model_differences.ShownDifference) -> str:
    said = each.said
    given = f"labeled {escape(said.label)}" if said.label else "no label yet"
    learned = f", learned by {escape(' and '.join(said.learned_by))}" if said.learned_by else ""
    return (
        f'<figure style="width:160px; margin:0"><img src="{escape(each.url)}" alt="{escape(each.name)}" loading="lazy" '
        'style="width:160px; height:120px; object-fit:contain">'
        f'<figcaption style="font-size:0.85rem">A: {escape(said.base)}{_sure(said.base_confidence)}<br>'
        f"B: {escape(said.candidate)}{_sure(said.candidate_confidence)}<br>"
        f"<small>{given}{learned}</small></figcaption></figure>"
    )


def _sure(confidence: float | None) -> str:
    return "" if confidence is None else f" ({percent(confidence)})"


# ---------------------------------------------------------------- button callbacks, before the page is redrawn


def _save() -> None:
    _do(lambda trainer: trainer.save_model(str(st.session_state.get(NAME, "")).strip()))


def _promote(version: str, confirmed: bool = False) -> None:
    def begin(trainer: Trainer) -> None:
        _promote_not()
        warning = trainer.promote(version, confirmed=confirmed).warning
        if warning is not None and not confirmed:
            st.session_state[DOUBTED] = version, warning

    _do(begin)


def _promote_not() -> None:
    st.session_state.pop(DOUBTED, None)


def _cancel(job: str) -> None:
    _do(lambda trainer: trainer.cancel(job))


def _compare() -> None:
    state = st.session_state

    def begin(trainer: Trainer) -> Job:
        metric = service.current().task.metric
        return trainer.compare(
            ComparisonRequest(
                base=state[BASE],
                candidate=state[CANDIDATE],
                split=state[SPLIT],
                min_delta={metric: state[GAIN] / 100},
                significant=state[SIGNIFICANT],
            )
        )

    _do(begin)


def _do(act: Callable[[Trainer], object], key: str = PROBLEM) -> None:
    """Ask the trainer, and show its refusal in this part of the page."""
    refusals.forget(key)
    try:
        act(service.current().trainer)
    except Problem as problem:
        refusals.refuse(key, problem.detail)
    except ValidationError as error:
        refusals.refuse(key, error.errors()[0]["msg"].removeprefix("Value error, ").capitalize() + ".")
