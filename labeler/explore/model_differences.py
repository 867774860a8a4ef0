"""The images on which two model versions differ, as a page may show them.

Only what the grid may show: train images that are still there. In blind mode none, because what models say must not
sway an answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from labeler.explore.grid import Gallery
from shared.settings.services import LabelerSettings
from shared.wire.jobs import Difference

MOST = 24


@dataclass(frozen=True, slots=True)
class ShownDifference:
    """An image with what the two versions take it for."""

    url: str
    name: str
    said: Difference


def shown(
    differing: Sequence[Difference], gallery: Gallery, settings: LabelerSettings, annotator: str
) -> list[ShownDifference]:
    """The first of those that may be shown, in their order."""
    if settings.blind_mode:
        return []
    said = {each.image_id: each for each in differing}
    tiles = gallery.tiles(list(said)[: 4 * MOST], annotator).images
    return [ShownDifference(f"{tile.url}&size=160", tile.name, said[tile.image_id]) for tile in tiles[:MOST]]
