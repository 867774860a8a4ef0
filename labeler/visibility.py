"""Who may see what: one policy that every page, route and export asks.

Two things must not happen. A held-out image (validation or test) that somebody has browsed no longer measures anything,
so lists of images contain only train images, and only the queue asks about the others. An answer influenced by the
model would measure the model by itself, so annotators see no hint for a held-out image, and none at all in blind mode.
A hint is a suggestion, a reason, a score, a prediction, a doubt, or the labels of similar images.

Two kinds of answers are outside this policy. Records (the catalogue, the annotation log, exports, differences between
snapshots) hold every image, because they are the dataset itself; predictions in them follow the rules. Disagreements
list held-out images too, because settling one is annotation; they hold what people said and no hint.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from labeler.errors import Conflict
from shared.settings.services import LabelerSettings
from shared.wire.fields import Split


class Visibility:
    """The rules of one workspace. `splits` has every existing image; read it under the store's lock."""

    def __init__(self, splits: Mapping[int, Split], settings: LabelerSettings) -> None:
        self._splits = splits
        self._settings = settings

    @property
    def hides_hints(self) -> bool:
        """Whether blind mode is on, in which nobody sees predictions for any image."""
        return self._settings.blind_mode

    def may_list(self, image_id: int) -> bool:
        """Whether lists may contain the image: the grid, the map, a search, a group, a review."""
        return self._splits.get(image_id) == "train"

    def listable(self, image_ids: Iterable[int]) -> list[int]:
        """The images that lists may contain, without duplicates, in the given order."""
        return [image_id for image_id in dict.fromkeys(image_ids) if self.may_list(image_id)]

    def all_listable(self) -> list[int]:
        """Every image that lists may contain, by id."""
        return sorted(filter(self.may_list, self._splits))

    def may_hint(self, image_id: int) -> bool:
        """Whether annotators of this image may see its prediction or the labels of similar images."""
        return self.may_list(image_id) and not self.hides_hints

    def may_open(self, image_id: int, *, answered: bool) -> bool:
        """Whether an annotator may open the image by its URL: a held-out one only if they have `answered` it."""
        return answered or self.may_list(image_id)

    def refuse_hints(self) -> None:
        """Raise Conflict in blind mode, for lists that consist of predictions."""
        if self.hides_hints:
            raise Conflict("Blind mode hides what the model says. To see it, turn blind_mode off in Settings.")
