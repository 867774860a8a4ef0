"""The live model: the embeddings, the head fitted on them, and its last evaluation.

The trainer ranks and predicts with it. A better challenger replaces it as a whole, so a reader that holds one
`LiveModel` holds parts that belong together.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.wire.evaluation import Evaluation, Interval
from trainer.embeddings.embedder import Embedder
from trainer.embeddings.space import ImagePool
from trainer.loop.ingest import Ingest
from trainer.loop.rounds import Model
from trainer.versions.active_backbone import Serving


@dataclass
class LiveModel:
    """`serving` says which version its embeddings came with; None: they are those of the settings.

    Only the loop's thread changes it; `latest` is the last evaluation, which may be of an earlier model.
    """

    ingest: Ingest
    serving: Serving | None = None
    model: Model | None = None
    latest: Evaluation | None = None

    @property
    def accuracy(self) -> Interval | None:
        """Of the last evaluation."""
        return self.latest.accuracy if self.latest is not None else None

    @property
    def embedder(self) -> Embedder:
        """What makes the embeddings."""
        return self.ingest.embedder

    @property
    def pool(self) -> ImagePool | None:
        """What is embedded; None before there is a backbone."""
        return self.ingest.pool
