"""What Progress says while nothing is measured, and how to change that: a pure function of settings and counts."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from shared.figures import ENOUGH, not_measured
from shared.settings.project_file import tidy
from shared.settings.services import LabelerSettings
from shared.wire.evaluation import Evaluation
from shared.wire.images import ScanView

LARGER = (0.2, 0.3, 0.5)  # shares of the images that may become test images in a small project


def nothing_measured(
    settings: LabelerSettings,
    evaluations: Sequence[Evaluation],
    test_images: int,
    *,
    images: int = 0,
    unlabeled: int = 0,
    name: str = "Accuracy",
    counted: str = "label",
    scanning: ScanView | None = None,
) -> str:
    """What to say while there is no accuracy to show, or whatever else is measured and has this `name`. `images` is
    the number of all images, `unlabeled` of those that may still become test images, `scanning` tells whether more are
    being added, and what people give is called `counted`.
    """
    if not (evaluations or test_images or settings.test_set or settings.test_set_frac):
        return (
            f"**Not measured:** no image is a test image, so more {counted}s do not help. "
            f"`{_split(settings, 0.2)}` sets a fifth of the images apart. The model then no longer learns from them."
        )
    now = not_measured(evaluations[-1].test_labels if evaluations else 0)
    if scanning is not None and scanning.running and test_images < ENOUGH and not settings.test_set:
        far = f": {scanning.done:,} of {scanning.total:,} files" if scanning.total else ""
        return (
            f"**{now.capitalize()}.** {name} is measured on test images, of which there are {test_images} so far. The "
            f"image folder is still being read{far}."
        )
    if images and test_images < ENOUGH and not settings.test_set:
        return (
            f"**{now.capitalize()}.** {_too_few_test_images(settings, name, test_images, images, unlabeled, counted)}"
        )
    if settings.test_set or settings.test_set_frac == 0:
        first = f"{name} appears once the trainer has evaluated its first model on {ENOUGH} labeled test images."
    else:
        first = (
            f"{name} is measured on test images, which are mixed in after the first {settings.test_free_labels} "
            f"{counted}s. It appears once {ENOUGH} of them are labeled."
        )
    return f"**{now.capitalize()}.** {first} Keep labeling."


def _too_few_test_images(
    settings: LabelerSettings, name: str, test_images: int, images: int, unlabeled: int, counted: str
) -> str:
    """In a small project, labeling every image would not be enough."""
    few = f"{name} is measured on test images. This project has only {test_images}, so more {counted}s do not help."
    share = next((each for each in LARGER if each * images >= ENOUGH), None)
    if share is None or unlabeled < ENOUGH:  # a labeled image stays in its split
        return f"{few} Add photos."
    return (
        f"{few} Add photos, or set more images apart: `{_split(settings, share)}`. The model then no longer "
        "learns from them."
    )


def _split(settings: LabelerSettings, share: float) -> str:
    """The command that makes this share of the images test images."""
    return shlex.join(["flywheel", "split", "--test", str(share), "--workspace", str(tidy(settings.workspace))])
