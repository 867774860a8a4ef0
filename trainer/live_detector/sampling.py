"""Chooses the labeled images that the live detector learns from when there are very many.

The views of one image take 2.3 MB and half a second to compute; on the larger canvas, 5.8 MB and 1.3 seconds. The
frozen network gains little from more than a few hundred images (blood cells: 89 % after 100, 90 % after 200). So after
an import of a hundred thousand images, the detector must neither fill the disk nor compute for half a day. The choice
is stable: an image that was chosen stays chosen, unless many others are added. Knows neither files nor pixels.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Collection, Mapping

from trainer.live_detector import canvas

MOST = 1_500
"""Maximum number of images on the usual canvas. Their views take 3.4 GB."""
OF_A_CLASS = 60
"""Number of images per class that are chosen first, so that rare classes are included."""


def most_images(size: int) -> int:
    """Maximum number of images on a canvas of `size` pixels a side. Their views fit into what is kept of them
    (`trainer.detection.feature_maps`): otherwise, each round would compute views that the last one has deleted.
    """
    return min(MOST, MOST * canvas.USUAL**2 // size**2)


def worth_learning(classes: Mapping[int, Collection[int]], most: int) -> list[int]:
    """Choose at most `most` images, in the given order. `classes` maps each image id to the classes in the image."""
    if len(classes) <= most:
        return list(classes)
    shuffled = sorted(classes, key=lambda image: (zlib.crc32(str(image).encode()), image))
    counts, taken = Counter[int](), set[int]()
    for image in shuffled:
        here = set(classes[image])
        if len(taken) < most and any(counts[each] < OF_A_CLASS for each in here):
            counts.update(here)
            taken.add(image)
    for image in shuffled:
        if len(taken) >= most:
            break
        taken.add(image)
    return [image for image in classes if image in taken]
