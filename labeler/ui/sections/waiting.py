"""Why figures are missing or old, in words: shown on every page that waits for the trainer.

It is redrawn as soon as the state of the trainer changes, because the bar above names the new state at once, and two
states on one page contradict each other. The figures below may take longer.
"""

from __future__ import annotations

import streamlit as st

from labeler import service
from labeler.ui.parts import components, wording
from labeler.ui.parts.wording import plain, time_left
from shared.figures import many, megabytes
from shared.tasks.registry import task_named
from shared.wire.project import Project
from shared.wire.trainer import TrainerStatus

ERROR = ":material/error:"


@st.fragment
def section(*, on_data: bool = False) -> None:
    """Draw why nothing new comes, and what to do; nothing while the trainer is learning. `on_data`: on the page Data,
    which shows the files itself.
    """
    components.redraw("waiting", ["images", "trainer"], soonest=0)
    labeler = service.current()
    show(labeler.project(), labeler.trainer.status(), on_data=on_data)


def show(project: Project, status: TrainerStatus | None, *, on_data: bool = False) -> None:
    """The same, for a fragment that is redrawn at once itself."""
    scanning = project.scanning
    if scanning.error:
        st.error(f"The image folder cannot be read: {plain(scanning.error)}", icon=ERROR)
    elif scanning.running and scanning.total:
        far = f"{scanning.done:,} of {scanning.total:,} files{time_left(scanning.seconds_left)}"
        st.progress(min(scanning.done / scanning.total, 1.0), f"Reading the image folder: {far}.")
    elif not project.images.total and not scanning.running and project.rejected:
        refused = f"{many(project.rejected, 'file')} of the image folder cannot be used"
        reasons = ", for the reasons below." if on_data else ". The page Data shows the reasons."
        st.warning(f"**No image can be used.** {refused}{reasons}", icon=":material/image:")
    elif not project.images.total and not scanning.running:
        st.info(
            "**No images yet.** Put photos into the project’s image folder: Flywheel adds them automatically. "
            f"Or add some {'above' if on_data else 'on the page Data'}.",
            icon=":material/image:",
        )
    if status is None:
        name, what = wording.away(project.workspace, project.trainer.state)
        st.warning(f"**{name}.** This page shows its latest data; {plain(what)}.", icon=":material/cloud_off:")
        return
    if status.state == "failed" and status.disk is None:  # the bar reports the disk
        error = plain(status.last_error or "see its log.")
        st.error(
            f"**The trainer failed:** {error} Labels are kept; press Resume to try again.", icon=":material/error:"
        )
    elif status.state == "paused":
        st.info("**Paused.** Labels are kept; press Resume to train on them.", icon=":material/pause:")
    elif status.state == "training" and status.model_version is None and task_named(project.task).by_box:
        st.info(
            "**The first detector is learning** from the images with boxes. Its first round takes about six seconds, "
            "and longer while their features are still being computed. Then it suggests boxes.",
            icon=":material/model_training:",
        )
    if status.tracking.error:
        st.info(
            f"{plain(status.tracking.error)} It is retried; the figures here are complete.",
            icon=":material/monitoring:",
        )
    if status.workers_away:
        st.info(plain(status.workers_away), icon=":material/lan:")
    embedding = status.embedding
    if (download := embedding.download) is not None:
        size = f"{megabytes(download.done_bytes)} of {megabytes(download.total_bytes)}"
        st.progress(
            min(download.done_bytes / max(download.total_bytes, 1), 1.0),
            f"The trainer is downloading the network {plain(download.name)} from the model hub: {size}. You can "
            "continue labeling. To prevent the download, restart with `--set trainer.auto_download=false`.",
        )
    elif embedding.lacks:
        st.info(plain(embedding.lacks), icon=":material/image:")
    elif embedding.unfinished:
        st.progress(
            embedding.done / embedding.total,
            f"The trainer is processing the images: {embedding.done:,} of {embedding.total:,}"
            f"{time_left(embedding.seconds_left)}. You can continue "
            "labeling; images that it has not processed are not asked about or learned from yet.",
        )
    elif embedding.done < embedding.total:
        them = "it" if embedding.problems == 1 else "them"
        st.info(
            f"The trainer cannot read {many(embedding.problems, 'image')}, so it does not learn from {them}. It tries "
            "again by itself.",
            icon=":material/image:",
        )
