"""Pictures of where a detector and people differ: a section of the page Progress.

Test images are never shown, because whoever labels must not know them. So these are training images, each looked at by
a detector that has not seen its boxes, as on the page Review. Whether the detector or the person is wrong is judged
there.
"""

from __future__ import annotations

from html import escape
from urllib.parse import quote

import streamlit as st

from labeler import service
from labeler.errors import Problem
from labeler.ui.parts.wording import plain
from shared.figures import many, percent
from shared.wire.review import Place, ReviewItem

SHOWN = 12
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
    if page.items:
        tiles = "".join(map(tile, page.items[:SHOWN]))
        st.html(f'<div style="display:flex; flex-wrap:wrap; gap:1rem">{tiles}</div>')
        st.caption("Solid: what people drew. Dashed: what the detector finds. Objects that it misses are not shown.")
        st.link_button("Judge them on the page Review", "/review", icon=":material/rule:")
    elif page.missing:
        st.write(f"{many(page.missing, 'more labeled image')} needed first.")
    elif page.progress or page.renewing or page.coming:
        st.progress(min(page.progress, 1.0), "Two detectors each learn half of the images and check the rest.")
    else:
        st.write("In no training image does the detector surely find anything else than people drew.")


def tile(item: ReviewItem) -> str:
    """An image with people's and the detector's boxes and their differences, as HTML."""
    width, height = item.width or 1, item.height or 1
    drawn = [
        _box(Place(**{each: box[each] for each in "xywh"}), "1px solid #fff", width, height) for box in _kept(item)
    ]
    drawn += [_box(item.at, "3px dashed #f97316", width, height)] if item.at is not None else []
    words = WORDS[item.kind or "class"].format(
        proposed=escape(item.proposed_name), given=escape(item.label_name), sure=percent(item.confidence)
    )
    return (
        '<figure style="width:220px; margin:0">'
        f'<a href="/?image={quote(str(item.image_id))}" target="_self" '
        f'style="display:block; position:relative; aspect-ratio:{width / height:.4f}">'
        f'<img src="{escape(item.url)}" alt="Image {item.image_id}: {words}" loading="lazy" '
        f'style="display:block; width:100%; height:100%">{"".join(drawn)}</a>'
        f'<figcaption style="font-size:0.85rem">The detector {words}.</figcaption></figure>'
    )


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
