"""What the tests of the embeddings share."""

from tests.trainer.embeddings.embedders import opened, photos  # noqa: F401
