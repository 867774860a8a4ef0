"""Pictures of where a detector and people differ: a section of the page Progress.

Test images are never shown, because whoever labels must not know them. So these are training images, each looked at by
a detector that has not seen its boxes, as on the page Review. Whether the detector or the person is wrong is judged
there.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from urllib.parse import quote

import streamlit as st

from labeler import service
from labeler.errors import Problem
from labeler.ui.parts.wording import plain
from shared.figures import many, percent
from shared.wire.review import Place, ReviewItem

SHOWN = 12
NAMED = 3
"""Maximum number of missed boxes that are named below an image."""
ASKED = "mistakes asked for"  # session key
WORDS = {
    "missing": "finds {proposed} where nobody drew a box ({sure})",
    "class": "finds {proposed} ({sure}), labeled {given}",
    "place": "finds {given} in another place ({sure})",
}


def section() -> None:
    """Draw the pictures once somebody asks for them, because the detectors for them learn for up to two minutes."""
    st.subheader("Pictures of mistakes", anchor=False)
    labeler = service.current()
    if labeler.visibility.hides_hints:
        st.caption("Hidden in blind mode, because predictions must not influence answers.")
        return
    st.write(
        "These are training images, because annotators must not see the results of test images. Each is checked by a "
        "detector that has not seen its boxes."
    )
    if not st.session_state.get(ASKED):
        st.button("Find them (up to two minutes)", icon=":material/image_search:", on_click=_ask)
        return
    _pictures()


@st.fragment(run_every=3)
def _pictures() -> None:
    try:
        page = service.current().review.page(SHOWN)
    except Problem as problem:
        st.warning(plain(problem.detail), icon=":material/cloud_off:")
        return
    if page.items or page.missed:
        st.markdown("**What the detector finds, and people did not draw like this**")
        if page.items:
            _tiles([tile(item) for item in page.items[:SHOWN]])
            st.caption("Solid: what people drew. Dashed: what the detector finds.")
            st.link_button("Judge them on the page Review", "/review", icon=":material/rule:")
        else:
            st.write("In all training images, every box that the detector is sure of matches one that people drew.")
        st.markdown("**What the detector misses**")
        if page.missed:
            _tiles([missed_tile(items) for items in _by_image(page.missed)])
            st.caption(
                "Dotted: drawn by people, and nothing near it reaches a score of 50% with a detector that has learned "
                "only half of the images. The number is the highest score of the box's class there."
            )
        else:
            st.write("In all training images, the detector finds every box that people drew.")
    elif page.missing:
        st.write(f"{many(page.missing, 'more labeled image')} needed first.")
    elif page.progress or page.renewing or page.coming:
        st.progress(min(page.progress, 1.0), "Two detectors each learn half of the images and check the rest.")
    else:
        st.write("In all training images, the detector agrees with what people drew.")


def tile(item: ReviewItem) -> str:
    """An image with people's and the detector's boxes and their differences, as HTML."""
    words = WORDS[item.kind or "class"].format(
        proposed=escape(item.proposed_name), given=escape(item.label_name), sure=percent(item.confidence)
    )
    return _figure(item, [item.box] if item.box is not None else [], "3px dashed #f97316", words)


def missed_tile(items: Sequence[ReviewItem]) -> str:
    """An image with people's boxes, of which the detector misses those of `items`, as HTML."""
    named = ", ".join(f"{escape(each.label_name)} ({percent(each.confidence)})" for each in items[:NAMED])
    more = f" and {len(items) - NAMED:,} more" if len(items) > NAMED else ""
    return _figure(
        items[0], [each.at for each in items if each.at is not None], "3px dotted #f97316", f"misses {named}{more}"
    )


def _figure(item: ReviewItem, marked: Sequence[Place], border: str, words: str) -> str:
    """The image with all boxes that people drew, those that are `marked`, and what the detector does, in `words`."""
    width, height = item.width or 1, item.height or 1
    drawn = [
        _box(Place(**{each: box[each] for each in "xywh"}), "1px solid #fff", width, height) for box in _kept(item)
    ]
    drawn += [_box(place, border, width, height) for place in marked]
    return (
        '<figure style="width:220px; margin:0">'
        f'<a href="/?image={quote(str(item.image_id))}" target="_self" '
        f'style="display:block; position:relative; aspect-ratio:{width / height:.4f}">'
        f'<img src="{escape(item.url)}" alt="Image {item.image_id}: {words}" loading="lazy" '
        f'style="display:block; width:100%; height:100%">{"".join(drawn)}</a>'
        f'<figcaption style="font-size:0.85rem">The detector {words}.</figcaption></figure>'
    )


def _by_image(items: Sequence[ReviewItem]) -> list[list[ReviewItem]]:
    images: dict[int, list[ReviewItem]] = {}
    for item in items:
        images.setdefault(item.image_id, []).append(item)
    return list(images.values())


def _tiles(tiles: Sequence[str]) -> None:
    st.html(f'<div style="display:flex; flex-wrap:wrap; gap:1rem">{"".join(tiles)}</div>')


def _kept(item: ReviewItem) -> list[dict[str, float]]:
    boxes: list[dict[str, float]] = (item.kept or {}).get("boxes", [])
    return boxes


def _box(place: Place, border: str, width: int, height: int) -> str:
    left, top, wide, high = (
        f"{100 * part / whole:.3f}%"
        for part, whole in ((place.x, width), (place.y, height), (place.w, width), (place.h, height))
    )
    return (
        '<span style="position:absolute; box-sizing:border-box; '
        f'left:{left}; top:{top}; width:{wide}; height:{high}; border:{border}; outline:1px solid #0008"></span>'
    )


def _ask() -> None:
    st.session_state[ASKED] = True
