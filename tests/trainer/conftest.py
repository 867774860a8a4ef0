"""Fixtures for the trainer's tests."""

from tests import forks
from tests.trainer.learning import client, photos, trainer  # noqa: F401

forks.use_for_jobs()  # most of what a job costs here is what its process imports
forks.use_for_exports()
