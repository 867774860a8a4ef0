"""Fixtures for the tests of the embeddings."""

from pathlib import Path

import huggingface_hub
import pytest

from tests.trainer.embeddings.embedders import opened, photos  # noqa: F401


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without a network connection, and the folder of its hub cache."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"
