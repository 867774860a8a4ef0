"""The page Disagreements, where different labels are settled: the picture, who gave which, and one key to decide.

Each button has a key unique to its image. Until the next image's buttons are drawn, the browser still shows the
previous ones, so a single press may reach both. So only the image drawn last counts, and only after a moment in which
it could be seen: pressing a key twice settles nothing unseen. The model's prediction is not shown, because the model
learns from what people settle on and, on test images, is measured against it.
"""

from __future__ import annotations

import math
from html import escape
from time import monotonic
from typing import Any
from uuid import UUID, uuid4

import streamlit as st

from labeler import service
from labeler.errors import Problem
from labeler.labeling.classes import DIGITS
from labeler.ui.parts import components, refusals
from labeler.ui.parts.wording import plain
from labeler.ui.sections import settling, settling_boxes
from shared.figures import percent, rounded
from shared.wire.log import Annotation, Undo
from shared.wire.project import ClassEntry
from shared.wire.review import Agreement, Disagreement, DisagreementPage, Opinion

SOONEST_SECONDS = 3
MOST = 50  # settled images shown
UNSEEN_SECONDS = 0.3  # after the image changes: nobody decides that quickly
UNSEEN = "You pressed before this image was visible, so it does not count. Look at it, and press again."
PLACE = "disagreements passed over"  # session key
DRAWN = "disagreements drawn"  # session key: the image whose buttons count, and since when
PROBLEM = "disagreements problem"  # session key: why the last press had no effect


def page() -> None:
    """Draw the page."""
    _settle()
    _agreement()


@st.fragment
def _settle() -> None:
    components.redraw("disagreements", ["labels"], soonest=SOONEST_SECONDS)
    labeler = service.current()
    passed: set[int] = st.session_state.setdefault(PLACE, set())
    refusals.show(PROBLEM)
    # Skipped images stay in the list, so it must reach beyond them.
    waiting = labeler.disagreements.page("open", limit=MOST + len(passed))
    shown = next((each for each in waiting.items if each.image_id not in passed), None)
    if shown is None and passed:
        passed.clear()
        shown = next(iter(waiting.items), None)
    if shown is None:
        st.info(_nothing(labeler, waiting), icon=":material/check:")
    else:
        _question(shown, waiting.open, labeler.classes.entries())
    if waiting.settled:
        _settled(labeler)


def _nothing(labeler: service.Service, waiting: DisagreementPage) -> str:
    """Why there is nothing to settle, and what would change that."""
    if waiting.settled:
        return "Every disagreement is settled."
    if labeler.settings.overlap == 1:
        return (
            "Each image is asked of **one person**, so nobody can disagree. Set `overlap` to 2 or more on the page "
            "Settings to have every image answered by several people, each under a name of their own."
        )
    if not labeler.disagreements.shared:
        return (
            f"No image has been answered by two people yet. Each is asked of {labeler.settings.overlap}: open this "
            "address in another browser, or on another machine, and label there under another name."
        )
    return "Nobody disagrees. Images with different answers appear here once everyone asked has answered."


def _question(shown: Disagreement, waiting: int, classes: list[ClassEntry]) -> None:
    before, _ = st.session_state.setdefault(DRAWN, (shown.image_id, -math.inf))
    if before != shown.image_id:
        st.session_state[DRAWN] = (shown.image_id, monotonic())
    picture, words = st.columns([3, 2], gap="medium")
    task = service.current().task
    picture.html(
        settling_boxes.picture(shown)
        if task.by_box
        else f'<img src="{escape(shown.url)}" alt="Image {shown.image_id}, to be settled" '
        'style="display:block; margin:auto; width:min(100%, 65vh); max-height:65vh; object-fit:contain">'
    )
    with words:
        st.subheader(f"{waiting:,} to settle" if waiting > 1 else "One to settle", anchor=False)
        st.write(_standing(shown))
        if shown.split == "test":
            st.caption("A test image: it measures accuracy, and what you choose counts as the truth.")
        st.table([_row(opinion) for opinion in shown.opinions], border="horizontal", hide_index=True)
        st.text_input("Note", key=_note(shown.image_id), placeholder="reason (optional)", max_chars=5_000)
        if task.by_class:
            settling.ask(shown, classes, _decide_classes, _pass_over)
        elif task.by_box:
            settling_boxes.ask(shown, len(classes), _decide, _pass_over)
        else:
            _buttons(shown, classes)


def _standing(shown: Disagreement) -> str:
    """What counts until the image is settled."""
    if shown.open_classes:
        names = [service.current().classes.name(each) or "" for each in shown.open_classes]
        boxes = service.current().task.by_box
        what = "from this image" if boxes else "this from the image"
        return f"A tie on **{plain(', '.join(names))}**: the model does not learn {what} until it is settled."
    if shown.name is None:
        return "A tie: the model does not learn from this image until it is settled."
    return f"The majority counts for now: **{plain(shown.name)}**."


def _row(opinion: Opinion) -> dict[str, str]:
    said = plain(opinion.name or "") if opinion.action == "label" else f"{opinion.action}".capitalize()
    notes = " · ".join(plain(each) for each in (opinion.reason, opinion.note) if each)
    when = f"{opinion.at:%Y-%m-%d %H:%M} UTC"
    return {"Who": plain(opinion.annotator), "Said": f"**{said}**", "When": when, "Note": notes}


def _buttons(shown: Disagreement, classes: list[ClassEntry]) -> None:
    """Buttons of the given classes first, then of all others; keys as on the page Label."""
    given = {opinion.label for opinion in shown.opinions}
    with st.container(horizontal=True):
        for each in [entry for entry in classes if entry.id in given]:
            _button(shown, each, hotkey=each.hotkey)
    others = [entry for entry in classes if entry.id not in given]
    if others:
        with st.expander("It is something else", key=f"other-classes-{shown.image_id}"), st.container(horizontal=True):
            for each in others:
                _button(shown, each)
    skip = "Shift+S" if len(classes) > len(DIGITS) else "S"  # as on the page Label
    later = f"later-{shown.image_id}"
    st.button("Later", key=later, shortcut=skip, on_click=_pass_over, args=(shown.image_id,))
    keys = {each.hotkey: _key(shown, each) for each in classes if each.hotkey and each.id in given}
    passing = {"s": later}
    components.shortcuts(keys if skip != "S" else keys | passing, passing if skip != "S" else {})


def _key(shown: Disagreement, entry: ClassEntry) -> str:
    return f"settle-{shown.image_id}-{entry.id}"


def _button(shown: Disagreement, entry: ClassEntry, hotkey: str | None = None) -> None:
    st.button(
        plain(entry.name),
        key=_key(shown, entry),
        shortcut=hotkey,
        on_click=_decide,
        args=(shown.image_id, entry.id),
    )


def _settled(labeler: service.Service) -> None:
    with st.expander("Settled", key="settled images"):
        for each in labeler.disagreements.page("settled", limit=MOST).items:
            if each.settled is None:
                continue
            words, undo = st.columns([5, 1], vertical_alignment="center")
            said = ", ".join(f"{plain(o.annotator)}: {plain(o.name or o.action)}" for o in each.opinions)
            words.markdown(
                f"Image {each.image_id} is **{plain(each.name or 'flagged')}**, "
                f"settled by {plain(each.settled.annotator)} "
                f"on {each.settled.at:%Y-%m-%d %H:%M} UTC. {said}."
            )
            undo.button("Undo", key=f"undo-{each.settled.id}", on_click=_take_back, args=(each.settled.id,))


def _agreement() -> None:
    found = service.current().disagreements.agreement()
    if found.measure is None:
        return
    st.subheader("Annotator agreement", anchor=False)
    st.write(_in_words(found))
    task = service.current().task
    same = "Same answer" if task.by_class else "Same boxes" if task.by_box else "Same class"
    pairs, classes = st.columns(2, gap="large")
    pairs.table(
        [
            {
                "Pair": plain(" and ".join(pair.annotators)),
                "Images": pair.images,
                same: percent(pair.agreed),
                **({} if pair.f1 is None else {"Boxes in common": percent(pair.f1)}),
                "Kappa": _number(pair.kappa),
            }
            for pair in found.pairs
        ],
        border="horizontal",
        hide_index=True,
    )
    classes.table(
        [
            {"Class": plain(each.name), "Images": each.images, "Agreement": _number(each.kappa)}
            for each in found.classes
        ],
        border="horizontal",
        hide_index=True,
    )


def _in_words(found: Agreement) -> str:
    by_class = service.current().task.by_class
    measure = "Cohen's kappa" if found.measure == "cohen" else "Krippendorff's alpha"
    images = f"{found.images:,} images" if found.images > 1 else "one image"
    agreed = percent(found.agreed or 0.0)
    same = "nobody says yes to a class where another says no" if by_class else "all gave the same class"
    mean = ", on average over the classes," if by_class else ""
    if service.current().task.by_box:
        return (
            f"On **{agreed}** of {images} labeled by several people, all drew the same boxes with the same classes. "
            f"Two people have **{percent(found.f1 or 0.0)}** of their boxes in common (F1; boxes that overlap at least "
            f"by half). {measure} on the classes of boxes in one place is **{_number(found.kappa)}**, where 0 is "
            "chance level and 1 is perfect."
        )
    return (
        f"On **{agreed}** of {images} labeled by several people, {same}; {measure}{mean} is "
        f"**{_number(found.kappa)}**, where 0 is chance level and 1 is perfect. If agreement is low, clearer "
        "descriptions of the classes help more than more labels."
    )


def _note(image_id: int) -> str:
    return f"note-{image_id}"


def _number(kappa: float | None) -> str:
    return "–" if kappa is None else rounded(kappa, 2)


# ---------------------------------------------------------------- button callbacks, before the page is redrawn


def _decide_classes(image_id: int, answer: dict[str, Any] | None, refusal: str | None) -> None:
    if answer is None:
        refusals.refuse(PROBLEM, refusal or "")
    else:
        _decide(image_id, None, answer)


def _decide(image_id: int, label: int | None, answer: dict[str, Any] | None = None) -> None:
    labeler = service.current()
    drawn, since = st.session_state[DRAWN]
    if image_id != drawn or monotonic() < since + UNSEEN_SECONDS:
        refusals.refuse(PROBLEM, UNSEEN)
        return
    refusals.forget(PROBLEM)
    try:
        labeler.disagreements.settle(
            Annotation(
                id=uuid4(),
                image_id=image_id,
                action="settle",
                label=label,
                answer=answer,
                annotator=components.annotator(),
                note=str(st.session_state.get(_note(image_id), "")).strip() or None,
            )
        )
    except Problem as problem:
        refusals.refuse(PROBLEM, problem.detail)


def _take_back(settle: UUID) -> None:
    refusals.forget(PROBLEM)
    try:
        service.current().undo(Undo(id=uuid4(), annotator=components.annotator(), target=settle))
    except Problem as problem:
        refusals.refuse(PROBLEM, problem.detail)


def _pass_over(image_id: int) -> None:
    refusals.forget(PROBLEM)
    st.session_state[PLACE].add(image_id)
