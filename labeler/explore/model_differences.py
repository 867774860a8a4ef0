"""The images on which two model versions differ, as a page may show them.

It shows only what the grid may show: train images that still exist. In blind mode it shows none, because predictions
must not influence answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from labeler.explore.grid import Grid
from labeler.images.thumbnails import resized
from labeler.visibility import Visibility
from shared.wire.jobs import Difference

MOST = 24
SIZE = 160  # pixels of the longer side


@dataclass(frozen=True, slots=True)
class ShownDifference:
    """An image with the predictions of both versions."""

    url: str
    name: str
    said: Difference


def shown(
    differing: Sequence[Difference], gallery: Grid, visibility: Visibility, annotator: str
) -> list[ShownDifference]:
    """The first `MOST` images that may be shown, in order."""
    if visibility.hides_hints:
        return []
    said = {each.image_id: each for each in differing}
    tiles = gallery.tiles(list(said)[: 4 * MOST], annotator).images
    return [ShownDifference(resized(tile.url, SIZE), tile.name, said[tile.image_id]) for tile in tiles[:MOST]]
