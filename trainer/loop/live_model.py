"""The champion: the embeddings, the head over them and how good it is, with which the trainer learns, asks and answers.

A challenger that is better replaces it whole, so that whoever holds one holds what belongs together.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.wire.evaluation import Evaluation, Interval
from trainer.embeddings.embedder import Embedder
from trainer.embeddings.space import ImagePool
from trainer.loop.ingest import Intake
from trainer.loop.rounds import Model
from trainer.versions.active_backbone import Serving


@dataclass
class Champion:
    """`serving` says which version its embeddings came with; None: they are those of the settings.

    Only the loop's thread changes it; `latest` is the last evaluation, which may be of an earlier model.
    """

    intake: Intake
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
        return self.intake.embedder

    @property
    def pool(self) -> ImagePool | None:
        """What is embedded; None before there is a backbone."""
        return self.intake.pool
