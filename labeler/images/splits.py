"""Draws new train, validation and test splits on request.

Images answered here stay in their split: a test label is valid only if it was given without suggestions, and a train
label may have been given with one. So only images without an answer, or with only imported labels, are dealt out. Each
split gets as close as possible to its share of all images. Images of a folder or group stay together: if some were
answered here, the others follow them. Each move is a row of the log, which says how it was drawn. The same seed gives
the same draw.
"""

from __future__ import annotations

import random
import threading
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import get_args
from uuid import UUID, uuid4

from labeler.errors import Conflict, Invalid
from labeler.images.catalog import Catalog
from labeler.store.annotation_log import AnnotationLog
from labeler.store.counts import Counts
from labeler.store.database import Store
from shared.web import audit
from shared.wire.dataset import MOST_GROUPED, SplitPart, SplitPost, SplitReceipt
from shared.wire.fields import Split

_BATCH = 500


class Splitting:
    """Draws the splits of one workspace."""

    def __init__(self, store: Store, log: AnnotationLog, tally: Counts, catalog: Catalog) -> None:
        self._store = store
        self._log = log
        self._tally = tally
        self._catalog = catalog
        self._keeping = threading.Lock()
        self._kept: tuple[UUID, dict[int, str]] | None = None  # groups for which more parts or another post may follow

    def take(self, post: SplitPart) -> SplitReceipt:
        """Draw the splits, or only keep the groups of this part if more parts follow. Raises Conflict if the earlier
        groups are no longer kept, and Invalid if there are too many."""
        groups, groups_id = post.groups, post.groups_id
        with self._keeping:
            if groups_id is not None:
                if self._kept is None or self._kept[0] != groups_id:
                    raise Conflict("These groups are no longer kept: send all of them again.")
                groups = self._kept[1] | groups
                if len(groups) > MOST_GROUPED:
                    raise Invalid(f"The groups name more than {MOST_GROUPED:,} images.")
            if post.more:
                groups_id = groups_id or uuid4()
            if groups_id is not None:  # only the latest groups are kept
                self._kept = (groups_id, groups) if post.more or post.dry_run else None
        if post.more:
            return SplitReceipt(splits={}, moved=0, kept=0, groups_id=groups_id)
        drawn = self.draw(post.model_copy(update={"groups": groups}))
        return drawn.model_copy(update={"groups_id": groups_id if post.dry_run else None})

    def draw(self, post: SplitPost) -> SplitReceipt:
        """Deal the images out; with `dry_run`, only count them."""
        shares: dict[Split, float] = {"test": post.test, "validation": post.validation}
        with self._store.lock:
            now = dict(self._tally.splits)
            kept = self._log.fold.answered_here.keys() & now.keys()
            labels = self._log.fold.task.strata(self._log.fold.labels) if post.by == "class" else {}
            strata: dict[int, list[list[int]]] = defaultdict(list)
            here: dict[int, list[Split]] = defaultdict(list)
            wanted: dict[int, Split] = {}
            torn = 0
            for unit in self._units(sorted(now), post):
                label = labels.get(unit[0], 0)
                answered = Counter(now[image_id] for image_id in unit if image_id in kept)
                if not answered:
                    strata[label].append(unit)
                    continue
                follow = answered.most_common(1)[0][0]
                wanted |= {image_id: follow for image_id in unit if image_id not in kept}
                here[label] += [now[image_id] if image_id in kept else follow for image_id in unit]
                torn += len(answered) > 1
            for label, units in sorted(strata.items()):
                wanted |= deal(units, shares, here[label], random.Random(f"{post.seed} {label}"))
            moves: dict[Split, list[int]] = {}
            for image_id, split in wanted.items():
                if now[image_id] != split:
                    moves.setdefault(split, []).append(image_id)
            if not post.dry_run:
                by = f"{post.by} ({post.how})" if post.how else post.by
                reason = f"test {post.test:g}, validation {post.validation:g} by {by}, seed {post.seed}"
                for split, image_ids in moves.items():
                    self._catalog.move(image_ids, split, annotator=post.annotator, reason=reason)
                moved = {split: len(image_ids) for split, image_ids in moves.items()}
                audit.note("splits drawn", by=post.annotator, reason=reason, moved=moved)
            after = now | wanted
            counts: dict[Split, int] = dict.fromkeys(get_args(Split), 0)
            for split in after.values():
                counts[split] += 1
        return SplitReceipt(splits=counts, moved=sum(map(len, moves.values())), kept=len(kept), torn=torn)

    def _units(self, image_ids: Sequence[int], post: SplitPost) -> list[list[int]]:
        """Lists of images that stay together."""
        if post.by not in ("folder", "group"):
            return [[image_id] for image_id in image_ids]
        together: dict[tuple[str, int], list[int]] = defaultdict(list)
        for start in range(0, len(image_ids), _BATCH):
            for image_id, entry in self._catalog.some(image_ids[start : start + _BATCH]).items():
                group = entry.uri.rpartition("/")[0] if post.by == "folder" else post.groups.get(image_id)
                together[("", image_id) if group is None else (group, 0)].append(image_id)
        return [sorted(unit) for _, unit in sorted(together.items())]


def deal(
    units: Sequence[list[int]], shares: dict[Split, float], here: Sequence[Split], rng: random.Random
) -> dict[int, Split]:
    """Image → split for shuffled `units`, so that each share is nearly met together with `here`."""
    total = sum(map(len, units)) + len(here)
    left = {split: round(share * total) - here.count(split) for split, share in shares.items()}
    dealt: dict[int, Split] = {}
    for unit in rng.sample(list(units), len(units)):
        # A unit goes to a split that still lacks at least half of its images, else to train.
        split: Split = next((name for name, count in left.items() if 2 * count >= len(unit) and count > 0), "train")
        dealt |= dict.fromkeys(unit, split)
        if split != "train":
            left[split] -= len(unit)
    return dealt
