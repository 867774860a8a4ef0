"""The live model: the embeddings, the head fitted on them, and its last evaluation.

The trainer ranks and predicts with it. A better challenger replaces it as a whole, so a reader that holds one
`LiveModel` holds parts that belong together.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.wire.evaluation import Evaluation
from trainer.embeddings.embedder import Embedder
from trainer.embeddings.space import ImagePool, Space
from trainer.loop.ingest import Ingest
from trainer.loop.rounds import Model
from trainer.tasks.classification import Classification
from trainer.tasks.task import Task
from trainer.versions.active_backbone import Serving

CLASSIFICATION = Classification()


class NotReady(Exception):  # noqa: N818 - a state, not a failure
    """The request needs a model or embeddings that do not exist yet. The message says what to do."""


class NotInPool(Exception):  # noqa: N818
    """The image is unknown, not embedded yet, or held out for measuring."""


@dataclass
class LiveModel:
    """`serving` names the version that its embeddings came with; None: they follow from the settings.

    Only the loop's thread changes it. `latest` is the last evaluation, which may be of an earlier model.
    """

    ingest: Ingest
    serving: Serving | None = None
    model: Model | None = None
    latest: Evaluation | None = None

    @property
    def embedder(self) -> Embedder:
        """The embedder of its embeddings."""
        return self.ingest.embedder

    @property
    def pool(self) -> ImagePool | None:
        """The embedded images; None before there is a backbone."""
        return self.ingest.pool

    @property
    def device(self) -> str | None:
        """The kind of device that its network runs on; None where no network embeds the images."""
        device = getattr(self.embedder.backbone, "device", None)
        return None if device is None else str(device.type)

    def serves(self, key: str) -> bool:
        """Whether its embeddings are those of this key, and came with a version."""
        return self.serving is not None and self.serving.key == key

    def start_over(self) -> None:
        """Forget what was learned from another log."""
        self.ingest.start_over()
        self.model = self.latest = None

    def ready(self, task: Task | None = None) -> Model:
        """The model. Raises NotReady, with what the task needs if it is known."""
        model = self.model
        if model is None:
            raise NotReady((task or CLASSIFICATION).no_model)
        return model

    def space(self) -> Space:
        """The embeddings at this moment. Raises NotReady."""
        pool = self.pool
        if pool is None:
            raise NotReady(self.embedder.lacks or "No image is embedded yet; wait for the progress bar to begin.")
        return pool.space()
