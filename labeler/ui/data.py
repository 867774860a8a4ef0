"""The page Data, where photos and label files are added. One function per section."""

from __future__ import annotations

import streamlit as st

from labeler import service
from labeler.images.file_index import missing_images
from labeler.ui.parts import components
from labeler.ui.parts.wording import plain
from labeler.ui.sections import project, waiting
from shared.figures import many
from shared.wire.images import Rejection

SOONEST_SECONDS = 2
SHOWN = 200  # maximum files in a list


def page() -> None:
    """Draw the page."""
    st.subheader("Add photos and labels", anchor=False)
    labeler = service.current()
    if labeler.identity.demo:  # the demo takes no photos, so it must not ask for them
        st.info(
            "The demo keeps its digits. To label your own photos, start a project: "
            "`flywheel up PHOTOS --workspace my-project`",
            icon=":material/add_photo_alternate:",
        )
    else:
        components.add(labeler.project(), labeler.settings)
    _state()
    project.section()


@st.fragment
def _state() -> None:
    """The number of photos, and the progress of the services with them."""
    components.redraw("data", ["images", "labels", "trainer"], soonest=SOONEST_SECONDS)
    labeler = service.current()
    there = labeler.project()
    st.subheader("Photos here", anchor=False)
    one = there.duplicates == 1
    copied = f" {many(there.duplicates, 'more file')} {'is a copy' if one else 'are copies'} of these."
    copies = copied if there.duplicates else ""
    st.write(f"**{there.images.total:,}** photos, **{there.images.labeled:,}** of them labeled.{copies}")
    waiting.section(on_data=True)
    if there.missing:
        with st.expander(f"The files of {many(there.missing, 'labeled photo')} are missing", key="missing photos"):
            st.write("Their labels are kept and exported. Put the files back to use the photos again.")
            _list(missing_images(labeler.catalog, labeler.files, SHOWN))
    if there.scanning.left_out:
        with st.expander("Skipped in the image folders", key="skipped files"):
            st.markdown("\n".join(f"- {plain(each)}" for each in there.scanning.left_out))
    if there.rejected:
        with st.expander(f"{many(there.rejected, 'file')} cannot be used", key="rejected files"):
            _list(labeler.catalog.files.rejections(SHOWN))


def _list(files: list[Rejection]) -> None:
    st.table([{"File": plain(each.uri), "Reason": plain(each.reason)} for each in files])
