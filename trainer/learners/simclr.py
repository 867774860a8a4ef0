"""Self-supervised training on unlabeled images: SimCLR (Chen et al. 2020, "A Simple Framework for Contrastive Learning
of Visual Representations", arXiv:2002.05709). Images in, weights of a timm network out; it knows no workspaces.

Each image of a batch is augmented twice, and the network learns which two of the 2·B views belong together (NT-Xent,
their equation 1). AdamW replaces their LARS, which is made for batches of thousands.

After each epoch, the full state is written to one file atomically, and all randomness derives from the seed and the
epoch. So a killed run continues at the next epoch and ends with the same weights. The name of a checkpoint contains its
plan and its set of images, so that weights that have seen an image are never used as if they had not.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional

from shared.images.opening import ImageLimits, ImageProblem
from shared.settings.services import SettingsError
from shared.storage.whole_files import write_whole
from shared.wire.images import ImageEntry
from trainer.embeddings.backbones.preparation import Preprocessing
from trainer.embeddings.backbones.timm_networks import config_of, create
from trainer.embeddings.backbones.torch_networks import Module, device_named
from trainer.gpu.half import half_types
from trainer.learners.augment import view

TEMPERATURE = 0.5
"""Temperature of NT-Xent; the paper's choice for small images and few epochs."""
PROJECTED = 128
"""Output size of the projection head, which is dropped after training."""
LEARNING_RATE = 1e-3
"""For a batch of 256; scales with the square root of the batch size."""
WEIGHT_DECAY = 1e-4
WARM_UP = 0.05
"""Share of all steps during which the learning rate rises."""
CACHE_BYTES = 2 * 2**30
"""Memory for decoded images; the rest is decoded again in each epoch."""

Fetch = Callable[[ImageEntry], bytes]
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to train, and for how long. `input_size` is pixels per side; `batch_size` is images, each used twice."""

    arch: str
    input_size: int
    epochs: int
    batch_size: int
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """Progress: steps done, total steps, current epoch (from 1), and the mean loss of this epoch so far."""

    done: int
    total: int
    epoch: int
    loss: float | None


def train(
    images: Sequence[ImageEntry],
    fetch: Fetch,
    plan: Plan,
    folder: Path,
    *,
    limits: ImageLimits,
    device: str = "auto",
    on_step: Callable[[Step], None] = lambda _: None,
) -> Path:
    """Train on `images`, all from the train split; returns the file of weights under `folder`.

    `fetch` returns the content of an image or raises ImageProblem; several threads call it. Unreadable images are left
    out. Work of an earlier call with the same plan and images is reused. Raises ValueError for an image of another
    split, and SettingsError if the plan is impossible or fewer than two images are readable.
    """
    held_out = next((entry for entry in images if entry.split != "train" or entry.removed), None)
    if held_out is not None:
        raise ValueError(f"{held_out.uri} is not a train image ({held_out.split}), so nothing may be fitted on it")
    name = f"simclr-{plan.arch}-{plan.input_size}px-{_identity(plan, images)}"
    target, checkpoint = folder / f"{name}.safetensors", folder / f"{name}.checkpoint"
    if target.is_file():
        return target
    run = _Run(plan, device_named(device))
    if checkpoint.is_file():
        run.load(checkpoint)
    with _Photos(images, fetch, plan.input_size, limits) as photos:
        steps = max(len(images) // plan.batch_size, 1)
        on_step(Step(run.epoch * steps, steps * plan.epochs, min(run.epoch + 1, plan.epochs), None))
        while run.epoch < plan.epochs:
            run.train_epoch(photos, steps, on_step)
            write_whole(checkpoint, run.saved())
    write_whole(target, run.weights())
    checkpoint.unlink(missing_ok=True)
    return target


def nt_xent(projected: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """Normalised temperature-scaled cross entropy of projections (2·B, d); rows i and B + i belong to one image."""
    unit = functional.normalize(projected.float())
    similarity = unit @ unit.T / temperature
    similarity.fill_diagonal_(-torch.inf)  # a view is not compared with itself
    partner = torch.arange(len(unit), device=unit.device).roll(len(unit) // 2)
    return functional.cross_entropy(similarity, partner)


class _Run:
    """Network, projection head and optimiser between two epochs."""

    def __init__(self, plan: Plan, device: torch.device) -> None:
        self.plan = plan
        self.epoch = 0
        self.losses: list[float] = []  # mean per epoch
        self.device = device
        torch.manual_seed(plan.seed)
        config = config_of("backbone", plan.arch)
        try:
            self.network: Module = create(plan.arch, config, plan.input_size).to(device)
            dim = self.network.eval()(torch.zeros(1, 3, plan.input_size, plan.input_size, device=device)).shape[1]
        except Exception as error:  # timm's, such as a size that is not a multiple of the patches
            raise SettingsError(f"{plan.arch!r} cannot take {plan.input_size} pixels a side: {error}.") from None
        hidden = torch.nn.Linear(dim, dim), torch.nn.ReLU(), torch.nn.Linear(dim, PROJECTED)
        self.head = torch.nn.Sequential(*hidden).to(device)
        self.network.to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.AdamW(
            [*self.network.parameters(), *self.head.parameters()], weight_decay=WEIGHT_DECAY
        )
        self._mean = torch.tensor(config.mean, device=device).view(3, 1, 1)
        self._std = torch.tensor(config.std, device=device).view(3, 1, 1)

    def train_epoch(self, photos: _Photos, steps: int, on_step: Callable[[Step], None]) -> None:
        """One pass over all images in a new order. Raises SettingsError if fewer than two are readable."""
        torch.manual_seed(self.plan.seed + 1 + self.epoch)
        losses: list[float] = []
        total = steps * self.plan.epochs
        self.network.train()
        for number, batch in enumerate(photos.batches(self.plan.batch_size, steps), self.epoch * steps):
            if len(batch) >= 2:
                self._set_rate(number / total)
                losses.append(self._step(batch))
            if losses:
                on_step(Step(number + 1, total, self.epoch + 1, sum(losses) / len(losses)))
        if not losses:
            raise SettingsError(f"Fewer than two images can be read: {photos.first_problem}.")
        self.losses.append(sum(losses) / len(losses))
        self.epoch += 1

    def saved(self) -> bytes:
        """The state for the next epoch: tensors, and JSON in the file's metadata."""
        tensors = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        tensors |= {f"head.{name}": tensor for name, tensor in self.head.state_dict().items()}
        for number, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{name}": tensor for name, tensor in state.items()}
        return _bytes(tensors, {"epoch": self.epoch, "losses": self.losses})

    def weights(self) -> bytes:
        """The network alone, with its plan and losses."""
        return _bytes(self.network.state_dict(), {**asdict(self.plan), "losses": self.losses})

    def load(self, path: Path) -> None:
        """Restore the state from `saved`. An unreadable file, which no kill leaves behind, raises SettingsError."""
        try:
            with safe_open(path, framework="pt") as file:
                said = json.loads(file.metadata()["flywheel"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
            self.network.load_state_dict(_under("network.", tensors))
            self.head.load_state_dict(_under("head.", tensors))
            state: dict[int, dict[str, Tensor]] = {}
            for name, tensor in _under("optimizer.", tensors).items():
                number, _, key = name.partition(".")
                state.setdefault(int(number), {})[key] = tensor
            groups = self.optimizer.state_dict()["param_groups"]
            self.optimizer.load_state_dict({"state": state, "param_groups": groups})
            self.epoch, self.losses = said["epoch"], said["losses"]
        except (OSError, SafetensorError, KeyError, TypeError, RuntimeError, ValueError) as error:
            raise SettingsError(f"The checkpoint {path} cannot be read ({error}): delete it to start over.") from None

    def _step(self, batch: Pixels) -> float:
        pixels = torch.from_numpy(batch).to(self.device).float() / 255
        views = (torch.cat([view(pixels), view(pixels)]) - self._mean) / self._std
        with torch.autocast("cuda", torch.bfloat16, enabled=torch.bfloat16 in half_types(self.device)):
            projected = self.head(self.network(views.contiguous(memory_format=torch.channels_last)))
        loss = nt_xent(projected)
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        self.optimizer.step()
        return loss.item()

    def _set_rate(self, share: float) -> None:
        """Set the learning rate after `share` of all steps: linear rise, then half a cosine to zero."""
        peak = LEARNING_RATE * math.sqrt(self.plan.batch_size / 256)
        fall = (1 + math.cos(math.pi * max(share - WARM_UP, 0) / (1 - WARM_UP))) / 2
        for group in self.optimizer.param_groups:
            group["lr"] = peak * min((share + 1e-3) / WARM_UP, 1) * fall


class _Photos:
    """Decoded images in random batches; the next batch is decoded during a training step."""

    def __init__(self, entries: Sequence[ImageEntry], fetch: Fetch, size: int, limits: ImageLimits) -> None:
        self.first_problem = ""
        self._entries = sorted(entries, key=lambda entry: entry.sha256)
        self._fetch = fetch
        self._size = size
        self._limits = limits
        self._cache: dict[str, Pixels] = {}
        self._room = CACHE_BYTES // (3 * size * size)
        self._threads = ThreadPoolExecutor((os.cpu_count() or 1) + 1, thread_name_prefix="decode")

    def __enter__(self) -> _Photos:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(cancel_futures=True)

    def batches(self, size: int, count: int) -> Iterator[Pixels]:
        """`count` batches (b, 3, S, S) in an order given by torch's seed; b < size if images are unreadable."""
        order = torch.randperm(len(self._entries)).tolist()
        ahead = self._begin(order[:size])
        for start in range(0, count * size, size):
            futures, ahead = ahead, self._begin(order[start + size : start + 2 * size])
            found = [pixels for pixels in (future.result() for future in futures) if pixels is not None]
            yield np.stack(found) if found else np.empty((0, 3, self._size, self._size), np.uint8)

    def _begin(self, numbers: Sequence[int]) -> list[Future[Pixels | None]]:
        return [self._threads.submit(self._load, self._entries[number]) for number in numbers]

    def _load(self, entry: ImageEntry) -> Pixels | None:
        known = self._cache.get(entry.sha256)
        if known is not None:
            return known
        try:
            data = self._fetch(entry)
            if hashlib.sha256(data).hexdigest() != entry.sha256:
                raise ImageProblem("has changed since it was catalogued")  # noqa: TRY301
            pixels = Preprocessing(self._size).read(data, self._limits)
        except ImageProblem as problem:
            self.first_problem = self.first_problem or f"{entry.uri} {problem}"
            return None
        if len(self._cache) < self._room:
            self._cache[entry.sha256] = pixels
        return pixels


def _identity(plan: Plan, images: Sequence[ImageEntry]) -> str:
    content = json.dumps([asdict(plan), sorted(entry.sha256 for entry in images)])
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def _bytes(tensors: dict[str, Tensor], said: dict[str, object]) -> bytes:
    return save({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, {"flywheel": json.dumps(said)})


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
