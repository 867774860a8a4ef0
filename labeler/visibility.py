"""Who may see what: one policy that every page, route and export asks.

Two things must not happen. A held-out image (validation or test) that somebody has browsed no longer measures anything,
so what shows many images shows train images only, and the queue alone asks about the others. And an answer that is
swayed by the model measures the model by itself, so whoever answers a held-out image sees no hint, and in blind mode
nobody does. A hint is a suggestion, a reason, a score, a prediction, a doubt, or the labels of similar images.

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
    """The rules of one workspace. `splits` holds every image that is there; read it under the store's lock."""

    def __init__(self, splits: Mapping[int, Split], settings: LabelerSettings) -> None:
        self._splits = splits
        self._settings = settings

    @property
    def hides_hints(self) -> bool:
        """Whether blind mode is on, in which nobody sees what the model says of any image."""
        return self._settings.blind_mode

    def may_list(self, image_id: int) -> bool:
        """Whether the image may stand among others: on the grid, the map, in a search, a group, a review, a list."""
        return self._splits.get(image_id) == "train"

    def listable(self, image_ids: Iterable[int]) -> list[int]:
        """Those that may stand among others, each once, in the order given."""
        return [image_id for image_id in dict.fromkeys(image_ids) if self.may_list(image_id)]

    def all_listable(self) -> list[int]:
        """Every image that may stand among others, by id."""
        return sorted(filter(self.may_list, self._splits))

    def may_hint(self, image_id: int) -> bool:
        """Whether whoever answers this image may see what the model says of it, or how similar images are labeled."""
        return self.may_list(image_id) and not self.hides_hints

    def may_open(self, image_id: int, *, answered: bool) -> bool:
        """Whether an annotator may open the image by its address: a held-out one only after `answered` it."""
        return answered or self.may_list(image_id)

    def refuse_hints(self) -> None:
        """Raise Conflict in blind mode, for what shows nothing but what the model says."""
        if self.hides_hints:
            raise Conflict("Blind mode hides what the model says. To see it, turn blind_mode off in Settings.")
