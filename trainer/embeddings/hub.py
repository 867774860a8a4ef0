"""The model hub: whether it can be reached, and what this machine already has of it. Loads nothing."""

from __future__ import annotations

import os
from pathlib import Path
from threading import Thread

import httpx
from huggingface_hub import constants, try_to_load_from_cache

HUB_SECONDS = 4.0
"""How long the hub may take to answer before it counts as out of reach."""


class UnreachableError(RuntimeError):
    """Pretrained weights that are neither here nor to be had from the hub now. The message is one sentence."""


def cached_weights(repository: str | None) -> str | None:
    """Path of the weights in the hub's cache on this machine."""
    for name in ("model.safetensors", "pytorch_model.bin"):
        path = try_to_load_from_cache(repository, name) if repository else None
        if isinstance(path, str):
            return path
    return None


def any_cached(name: str) -> bool:
    """Whether the hub's cache holds a timm model whose name begins with `name`; cheap, and may say yes in vain."""
    return any(Path(constants.HF_HUB_CACHE).glob(f"models--timm--{name}*"))


def hub_answers() -> bool:
    """Whether the hub answers within HUB_SECONDS; in a thread, because looking up a name has no timeout of its own."""
    answers: list[bool] = []

    def ask() -> None:
        try:
            address = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
            answers.append(httpx.head(address, timeout=HUB_SECONDS, follow_redirects=True).is_success)
        except httpx.HTTPError:
            pass

    offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}
    thread = Thread(target=ask, name="hub", daemon=True)
    if not offline:
        thread.start()
        thread.join(HUB_SECONDS)
    return answers == [True]
