"""Views of the pool for the pages: neighbours of an image, groups, the map, doubtful labels, near copies.

Only train images are shown, so that nobody sees held-out images.
"""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.settings.services import TrainerSettings
from shared.wire.images import Described, Drawn, Group, Groups, Neighbour, Neighbours, PoolMap
from shared.wire.review import LabelIssues, NearDuplicates
from trainer.columns.half_rows import AnyRows
from trainer.explore import pool_layout
from trainer.explore.umap_layout import UmapFailed, UmapLayout
from trainer.live_detector.pictures import Pictures
from trainer.loop.live_model import NotInPool, NotReady
from trainer.loop.loop import Loop
from trainer.review.near_duplicates import near_duplicates
from trainer.review.reviewer import Reviewer
from trainer.sync.replica import Replica
from trainer.sync.snapshot import Snapshot
from trainer.tasks.registry import task_named


class Explorer:
    """Answers for the live model of `loop`. `folder` is where the UMAP process reads and writes."""

    def __init__(
        self,
        loop: Loop,
        replica: Replica,
        settings: TrainerSettings,
        folder: Path,
        pictures: Pictures | None = None,
    ) -> None:
        self._loop = loop
        self._replica = replica
        self._seed = settings.seed
        self._layouts = pool_layout.LayoutCache(settings.seed)
        self._umap = UmapLayout(folder, settings.seed)
        self._reviewer = Reviewer(settings.seed, pictures)

    def start(self) -> None:
        """Start the thread that judges labels on request."""
        self._reviewer.worker.start()

    def close(self) -> None:
        """End threads and processes."""
        self._reviewer.close()
        self._umap.close()

    def similar(self, image_id: int, limit: int, *, labeled: bool = False) -> Neighbours:
        """The train images most similar to one, most similar first; only labeled ones with `labeled`.

        Raises NotReady and NotInPool.
        """
        matrix = self._loop.live.space().train
        ids, rows = matrix.view()
        row = matrix.row_of.get(image_id)
        if row is None or row >= len(ids):
            raise NotInPool(
                f"Image {image_id} is not in the pool: not embedded yet, unknown, or held out for measuring."
            )
        among = None
        if labeled:
            with self._replica.lock:
                given = [matrix.row_of.get(each, len(ids)) for each in self._replica.fold.labels]
            among = np.array([each for each in given if each < len(ids)], np.int64)
        found, similarity = pool_layout.neighbours(rows, row, limit, among)
        return Neighbours(
            image_id=image_id,
            similar=[
                Neighbour(image_id=int(ids[i]), similarity=float(s)) for i, s in zip(found, similarity, strict=True)
            ],
        )

    def described(self, words: str, limit: int) -> Described:
        """The train images that `words` describe best. Raises NotReady without a text network."""
        live, text = self._loop.live, self._loop.text  # read once, because another model may replace it meanwhile
        pool, key = live.pool, live.embedder.key
        try:
            found = text.described(pool, key, words) if pool is not None and key and len(pool.train.ids) else None
        except KeyError:
            raise NotReady("Images have just been removed; ask again in a moment.") from None
        if found is None:
            raise NotReady(text.message or "To find images by words, set the trainer's 'text_network'.")
        ids, similarity = (each[:limit].tolist() for each in found)
        return Described(
            words=words,
            images=[Neighbour(image_id=i, similarity=s) for i, s in zip(ids, similarity, strict=True)],
        )

    def clusters(self, count: int, limit: int) -> Groups:
        """Groups of train images, the largest first, each with its most typical images.

        Raises NotReady and pool_layout.Unfinished.
        """
        state, ids, rows = self._laid_out()
        group, closeness = self._layouts.groups(state, rows, count)
        found = []
        for k in np.unique(group):
            members = np.flatnonzero(group == k)
            typical = members[np.argsort(-closeness[members], kind="stable")[:limit]]
            found.append(Group(cluster=int(k), size=len(members), image_ids=ids[typical].tolist()))
        return Groups(clusters=sorted(found, key=lambda entry: -entry.size))

    def map(self, limit: int, layout: Drawn = "pca") -> PoolMap:
        """2-D positions of the train images, or of a random `limit` of them.

        While another layout is computed, PCA is shown. That computation starts once all images are embedded. Raises
        NotReady and pool_layout.Unfinished.
        """
        state, ids, rows = self._laid_out()
        positions, problem = None, None
        if layout == "umap" and self._umap.available:
            embedding = self._loop.progress()
            try:
                positions = self._umap.positions(state, rows) if embedding.done == embedding.total else None
            except UmapFailed as error:
                problem = str(error)
        elif layout == "umap":
            problem = "UMAP needs umap-learn, which is not installed in the trainer's environment."
        shown_layout: Drawn = "pca" if positions is None else "umap"
        if positions is None:
            positions = self._layouts.positions(state, rows)
        shown = np.arange(len(ids))
        if len(ids) > limit:
            shown = np.sort(np.random.default_rng(self._seed).choice(len(ids), limit, replace=False))
        x, y = np.round(positions[shown].astype(np.float64), 4).T.tolist()
        computing = shown_layout != layout and problem is None
        progress, seconds_left = self._umap.progress() if computing else (None, None)
        return PoolMap(
            total=len(ids),
            image_ids=ids[shown].tolist(),
            x=x,
            y=y,
            layout=shown_layout,
            computing=computing,
            progress=progress,
            seconds_left=seconds_left,
            problem=problem,
            layouts=("pca", "umap") if self._umap.available else ("pca",),
        )

    def label_issues(self, limit: int) -> LabelIssues:
        """Doubtful labels of train images, worst first, each with a proposed label. Raises NotReady."""
        space, snapshot = self._loop.live.space(), self._snapshot()
        if not task_named(snapshot.task).finds_label_issues:
            raise NotReady(f"Doubtful labels cannot be found in a project of the task {snapshot.task!r}.")
        return self._reviewer.look(space, snapshot, limit, self._loop.live.ingest.coming(snapshot.labels))

    def near_duplicates(self, limit: int) -> NearDuplicates:
        """Near copies with different labels, and across splits. Raises NotReady."""
        space, snapshot = self._loop.live.space(), self._snapshot()
        labels = snapshot.labels if task_named(snapshot.task).finds_label_issues else {}
        differ = self._replica.fold.task.differ
        return near_duplicates(space, labels, limit, seed=self._seed, differ=differ)

    def _snapshot(self) -> Snapshot:
        snapshot = Snapshot.of(self._replica)
        if snapshot is None:
            raise NotReady("No labeler has sent its log yet.")
        return snapshot

    def _laid_out(self) -> tuple[Hashable, NDArray[np.int64], AnyRows]:
        """Ids (N,) and rows (N, D) of the train images, and a key that changes with them."""
        space = self._loop.live.space()
        ids, rows = space.train.view()
        return (self._replica.log_id, space.base, len(ids), space.removals), ids, rows
