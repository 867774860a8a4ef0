"""Which of very many labeled images the live detector learns from.

The views of an image take 2.3 MB and half a second. The frozen network gains little from more than a few hundred images
(blood cells: 89 % after 100, 90 % after 200), so an import of a hundred thousand must neither fill the disk nor keep
the detector busy for half a day. The choice is the same at each call: an image that was chosen stays chosen, unless
many others came. Knows neither files nor pixels.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Collection, Mapping

MOST = 1_500
"""Images. Their views take 3.5 GB."""
OF_A_CLASS = 60
"""Images of each class that are taken before any others, so that no rare class is left out."""


def worth_learning(classes: Mapping[int, Collection[int]], most: int = MOST) -> list[int]:
    """At most `most` of the images; `classes` are those in each image, by image id. In the given order."""
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
