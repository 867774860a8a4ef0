"""Fixtures for the tests of the embeddings."""

from tests.trainer.embeddings.embedders import opened, photos  # noqa: F401
