"""The wire types of files that are being written for somebody: labels, and models that the trainer makes."""

from __future__ import annotations

from typing import Literal

from shared.messages import Reply

ModelFormat = Literal["safetensors", "json", "csv", "onnx", "torch", "zip", "fastai", "card"]
"""In which a saved version can be taken away."""
DownloadState = Literal["making", "writing", "done", "failed"]


class Download(Reply):
    """One file: `making` it has begun, or it is being sent. `done` of `total` are images, or bytes of a model."""

    id: int
    name: str
    state: DownloadState
    unit: Literal["image", "byte"]
    done: int = 0
    total: int | None = None
    seconds: float = 0.0  # since it began
    seconds_left: float | None = None
    error: str | None = None  # of one that failed


class DownloadList(Reply):
    """`GET /api/downloads`: newest first; those that ended a minute ago are left out."""

    downloads: list[Download]


class ExportCount(Reply):
    """`GET /api/export/count`: images that an export would hold, and how many of them have a label."""

    images: int
    labeled: int


class Prepared(Reply):
    """A model file that is there to be downloaded."""

    name: str
    bytes: int
