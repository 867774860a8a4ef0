"""The fine-tuner: trains a whole network on labeled images, with fastai.

Arrays and a network in, better weights out; it knows neither versions nor labelers nor image files. It follows fastai's
`fine_tune`: first the new classifier alone, then all layers in one cycle, early layers ten times slower than late ones
(discriminative rates, Howard & Ruder 2018; one cycle, Smith 2018). The classifier starts as a logistic regression on
the unchanged features, because a random one would damage them (Kumar et al. 2022, "LP-FT"). Epochs are chosen on
validation images, and training ends when these stop improving. Without them, the number of epochs is fixed and the last
weights are kept. An objective (`trainer.objectives`) gives the loss and the validation metrics.

After each epoch, the current and the best weights are written to one file atomically. A killed run continues at the
next epoch, at its place in the cycle; the optimiser's averages start again, which a few steps make up for. Importing
fastai takes ten seconds, so only training imports this module (and `batch_norm`).
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from fastai.callback.core import Callback, CancelFitException, CancelValidException
from fastai.callback.fp16 import MixedPrecision
from fastai.callback.schedule import Learner
from fastai.data.core import DataLoaders, TfmdDL
from fastai.data.transforms import IntToFloatTensor, Normalize
from fastai.torch_core import TensorBase, TensorImage, set_seed
from fastai.vision.augment import aug_transforms
from numpy.typing import NDArray

from shared.figures import many
from trainer.embeddings.backbones.torch_networks import Module
from trainer.gpu.memory import out_of_memory
from trainer.learners.batch_norm import Statistics, Still, renew
from trainer.learners.checkpoint import Run, resume, save, weights
from trainer.objectives.objective import Objective

FASTER = 10.0
"""Factor by which the last layers learn faster than the first, if pretrained; at 100 the first learned nothing."""
RATE = 2e-3
"""Default learning rate for pretrained weights. The rate finder (Smith 2017) has no slope to follow if the classifier
fits already: it returned 3e-5 to 3e-3 on the same photos.
"""
RATES = (1e-5, 1e-2)
"""Limits for the rate finder when training from scratch: on few images it is noisy."""
FINDER_STEPS = 60
PROBED = 5_000
"""Maximum number of images to fit the initial classifier on."""
SMALLEST_BATCH = 2


class Samples(Protocol):
    """Labeled images: `pixels(i)` is (3, S, S) uint8, and `targets` are (n, …)."""

    @property
    def targets(self) -> NDArray[Any]:
        """The targets of all images, in order, in the form that the plan's objective expects."""
        ...

    def pixels(self, number: int) -> NDArray[np.uint8]:
        """One image (3, S, S)."""
        ...


@dataclass(frozen=True)
class Plan:
    """How to train.

    `epochs` is the maximum if validation images can end training, else the exact number. `classifier` is the prefix of
    the classifier's tensors. It is trained alone in the first `frozen` epochs (0 from scratch), but never in the last
    one. `statistics` are those of batch normalisation. `mean` and `std` are per channel, for values from 0 to 1.
    """

    objective: Objective

    epochs: int
    batch_size: int
    learning_rate: float | None
    patience: int
    flip: bool
    seed: int
    frozen: int
    statistics: Statistics
    classifier: str
    mean: Sequence[float]
    std: Sequence[float]


@dataclass(frozen=True)
class Step:
    """Progress: steps done and total, the current epoch (from 1), and the last validation metrics."""

    done: int
    total: int
    epoch: int
    message: str
    metrics: dict[str, float] = field(default_factory=dict)


def fine_tune(
    network: Module,
    train: Samples,
    validation: Samples | None,
    plan: Plan,
    *,
    checkpoint: Path,
    device: torch.device,
    on_step: Callable[[Step], None] = lambda _: None,
) -> Run:
    """Train `network`, (B, 3, S, S) → (B, K) logits, in place. It ends with the best weights, or the last ones without
    `validation`.

    Work of an earlier call with the same `checkpoint` is reused. If memory runs out, the batch is halved, down to two
    images, and the notes say so.
    """
    run = resume(network, checkpoint) or Run(batch_size=plan.batch_size)
    network.to(device)
    while not _is_over(run, plan):  # it may be over already: the process was killed while the result was measured
        try:
            if plan.frozen and not run.epoch and not run.best:
                _begin(network, train, validation, plan, run, device)
            _train(network, train, validation, plan, run, checkpoint, device, on_step)
            break
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if not out_of_memory(error) or run.batch_size <= SMALLEST_BATCH:
                raise
            run.batch_size = max(run.batch_size // 2, SMALLEST_BATCH)
            run.notes.append(f"Memory ran out, so the batch was reduced to {many(run.batch_size, 'image')}.")
        torch.cuda.empty_cache()
        again = resume(network, checkpoint)
        if again is not None:
            again.batch_size, again.notes = run.batch_size, run.notes
            run = again
    network.load_state_dict(run.best)
    return run


def _is_over(run: Run, plan: Plan) -> bool:
    """Whether the patience is used up."""
    return run.epoch - run.peak_epoch >= plan.patience and run.epoch > plan.frozen


@torch.no_grad()
def _begin(
    network: Module, train: Samples, validation: Samples | None, plan: Plan, run: Run, device: torch.device
) -> None:
    """Initialise the classifier of a pretrained network; these weights may turn out to be the best."""
    network.eval()
    rows = np.sort(np.random.default_rng(plan.seed).permutation(len(train.targets))[:PROBED])
    if plan.statistics == "renewed":
        size = min(run.batch_size, len(rows))  # a single image has no batch statistics
        renew(network, _batches(train, rows[: len(rows) // size * size], plan, size, device))
    images = _batches(train, rows, plan, run.batch_size, device)
    if plan.objective.begin(network, plan.classifier, images, train.targets[rows]) and validation is not None:
        logits = logits_of(network, validation, plan, run.batch_size, device)
        score, loss = plan.objective.score(logits, validation.targets)
        run.best_score, run.peak, run.best = score, (score, -loss), weights(network)


@torch.no_grad()
def logits_of(network: Module, samples: Samples, plan: Plan, size: int, device: torch.device) -> torch.Tensor:
    """The logits (n, K) of all samples, without augmentation, in batches of `size`."""
    network.eval()
    images = _batches(samples, np.arange(len(samples.targets)), plan, size, device)
    return torch.cat([network(batch).float().cpu() for batch in images])


def _batches(
    samples: Samples, rows: NDArray[np.int64], plan: Plan, size: int, device: torch.device
) -> Iterator[torch.Tensor]:
    """Images without augmentation, in normalised batches."""
    mean, std = (torch.tensor(list(each), device=device).view(3, 1, 1) for each in (plan.mean, plan.std))
    for start in range(0, len(rows), size):
        pixels = np.stack([samples.pixels(int(row)) for row in rows[start : start + size]])
        yield (torch.from_numpy(pixels).to(device).float() / 255 - mean) / std


def _train(
    network: Module,
    train: Samples,
    validation: Samples | None,
    plan: Plan,
    run: Run,
    checkpoint: Path,
    device: torch.device,
    on_step: Callable[[Step], None],
) -> None:
    with tempfile.TemporaryDirectory(prefix="flywheel-") as scratch:  # the rate finder stores weights in it
        learner = Learner(
            _loaders(train, validation, plan, run.batch_size, device),
            network,
            loss_func=plan.objective.loss,
            splitter=lambda model: _groups(model, plan.classifier),
            path=scratch,
            cbs=[
                *([MixedPrecision()] if device.type == "cuda" else []),
                *([Still()] if plan.statistics == "kept" else []),
            ],
        )
        with learner.no_bar(), learner.no_logging():
            if not run.learning_rate:
                run.learning_rate = plan.learning_rate or (RATE if plan.frozen else _find_rate(learner, on_step))
            alone, total = min(plan.frozen, plan.epochs - 1), plan.epochs
            keeper = _Keeper(run, plan, checkpoint, total, validation, on_step)
            if run.epoch < alone:
                learner.freeze()
                learner.fit_one_cycle(alone, slice(run.learning_rate), start_epoch=run.epoch, cbs=[keeper])
            learner.unfreeze()
            rates = slice(run.learning_rate / 2 / FASTER, run.learning_rate / 2) if plan.frozen else run.learning_rate
            if run.epoch < total and not keeper.finished:
                learner.fit_one_cycle(total - alone, rates, start_epoch=run.epoch - alone, cbs=[keeper])


class _Keeper(Callback):  # type: ignore[misc]  # fastai is not typed
    """Validates after each epoch, keeps the best weights and the checkpoint, and stops without improvement."""

    order = 70  # after the optimiser

    def __init__(
        self,
        run: Run,
        plan: Plan,
        checkpoint: Path,
        total: int,
        validation: Samples | None,
        on_step: Callable[[Step], None],
    ) -> None:
        super().__init__()
        self.state, self.plan, self.file, self.total = run, plan, checkpoint, total
        self.validation, self.tell, self.finished = validation, on_step, False
        self.most = "at most " if validation is not None else ""
        self.trained = False  # in this epoch
        self.said: dict[str, float] = {}
        self.logits: list[torch.Tensor] = []
        self.losses: list[torch.Tensor] = []

    def before_batch(self) -> None:
        self.began = time.perf_counter()

    def after_batch(self) -> None:
        if not self.training:
            return
        self.trained = True
        self.state.seconds += time.perf_counter() - self.began
        self.state.images += len(self.xb[0])
        self.losses.append(torch.as_tensor(self.loss).detach())  # on its device: reading it would wait for the GPU
        steps = len(self.dls.train)
        done, epoch = self.state.epoch * steps + self.iter + 1, self.state.epoch + 1
        message = f"Training, epoch {epoch} of {self.most}{self.total}"
        self.tell(Step(done, self.total * steps, epoch, message, self.said))

    def before_validate(self) -> None:
        self.logits = []
        if self.validation is None:
            raise CancelValidException

    def after_pred(self) -> None:
        if not self.training:
            self.logits.append(torch.as_tensor(self.pred).detach().float().cpu())

    def after_epoch(self) -> None:
        if not self.trained:  # an epoch from before a kill, which is skipped
            return
        run, self.trained = self.state, False
        run.epoch += 1
        said: dict[str, float] = {"epoch": run.epoch, "train_loss": float(torch.stack(self.losses).float().mean())}
        self.losses = []
        if self.validation is None:
            run.peak_epoch = run.epoch  # without validation nothing ends training
            self._keep()
        else:
            objective = self.plan.objective
            score, loss = objective.score(torch.cat(self.logits), self.validation.targets)
            self.said = {objective.measure: score, "loss": loss}
            said |= {"validation_loss": loss, f"validation_{objective.measure}": score}
            if (score, -loss) > tuple(run.peak):
                run.peak, run.peak_epoch = (score, -loss), run.epoch
            highest = run.peak[0]
            if score >= highest - math.sqrt(highest * (1 - highest) / len(self.validation.targets)):
                run.best_score = score
                self._keep()
        run.history.append({name: value for name, value in said.items() if math.isfinite(value)})
        self.finished = _is_over(run, self.plan)
        if self.finished:
            run.notes.append(f"Ended after epoch {run.epoch}: no improvement for {self.plan.patience} epochs.")
        save(self.model, run, self.file)
        if self.finished:
            raise CancelFitException

    def _keep(self) -> None:
        self.state.best_epoch = self.state.epoch
        self.state.best = weights(self.model)


def _loaders(
    train: Samples, validation: Samples | None, plan: Plan, batch_size: int, device: torch.device
) -> DataLoaders:
    augment = aug_transforms(do_flip=plan.flip, max_rotate=10.0, max_lighting=0.2, max_warp=0.1)
    after = [IntToFloatTensor(), *augment, Normalize.from_stats(list(plan.mean), list(plan.std), cuda=False)]
    for transform in after:
        if isinstance(transform, Normalize):
            transform.mean, transform.std = transform.mean.to(device), transform.std.to(device)
    size = min(batch_size, len(train.targets))
    loaders = [
        TfmdDL(
            _Dataset(samples, number),
            bs=size,
            shuffle=number == 0,
            drop_last=number == 0,  # a single image has no batch statistics
            num_workers=0,
            after_batch=after,
            device=device,
        )
        for number, samples in enumerate((train, validation or train))
    ]
    set_seed(plan.seed)
    return DataLoaders(*loaders, device=device)


class _Dataset:
    """`Samples` as a dataset of fastai. `split_idx` 0 is augmented, 1 is not."""

    def __init__(self, samples: Samples, split_idx: int) -> None:
        self._samples, self.split_idx = samples, split_idx

    def __len__(self) -> int:
        return len(self._samples.targets)

    def __getitem__(self, number: int) -> tuple[Any, Any]:
        pixels = torch.from_numpy(self._samples.pixels(number))
        return TensorImage(pixels), TensorBase(torch.as_tensor(self._samples.targets[number]))


def _groups(network: Module, classifier: str) -> list[list[torch.nn.Parameter]]:
    """Parameters in three groups: first and second half of the network, and the classifier."""
    body: list[torch.nn.Parameter] = []
    head: list[torch.nn.Parameter] = []
    for name, parameter in network.named_parameters():
        (head if name.startswith(classifier) else body).append(parameter)
    half = len(body) // 2
    return [body[:half], body[half:], head]


def _find_rate(learner: Learner, on_step: Callable[[Step], None]) -> float:
    on_step(Step(0, 1, 0, "Finding the learning rate"))
    found = float(learner.lr_find(num_it=FINDER_STEPS, show_plot=False).valley)
    return float(np.clip(found, *RATES))
