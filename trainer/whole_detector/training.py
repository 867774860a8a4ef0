"""Trains a whole detector: AdamW in one cosine cycle, the backbone slower than the head.

Knows neither versions nor image files. The result is the running average of the weights. On a backbone with published
weights, the head first learns alone, because the gradients of an untrained head would damage the backbone. After some
epochs, all state is written to one file atomically, and a killed run continues there. The averages are then also
compared on the validation images, and the best one becomes the result; without validation images it is the last one,
where the learning rate has reached zero. The state of the optimiser is not saved: it recovers within a few steps.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from shared.figures import many
from shared.images.opening import ImageProblem
from trainer.detection.detector import Example
from trainer.detection.loss import class_weights
from trainer.gpu.memory import out_of_memory
from trainer.whole_detector.networks import WholeDetector
from trainer.whole_detector.state import State, resume, save
from trainer.whole_detector.views import Album, Drawn, batched, recoloured

SLOWER = 3.0
"""Factor by which a pretrained backbone learns more slowly than the head. On blood cells, after 500 steps, mAP at IoU
0.5 to 0.95 was .528 with 3 and .513 with 10 (20 labeled images), and .555 and .532 (100 labeled images)."""
DECAY = 1e-3
BETAS = (0.9, 0.99)
CLIP = 5.0
WARM_UP = 20
"""Steps in which the learning rate rises."""
ALONE = 0.1
"""Share of the steps, at the beginning, in which only the head learns, if the backbone has published weights."""
AVERAGE = 0.99
"""Share of the old average that a step keeps. The first steps keep less."""
COLOUR = 0.25
"""Largest change of brightness, contrast and saturation, as a share."""
MOSAIC = 0.3
"""Share of views that are mosaics. Without any, and with SLOWER = 10, mAP as above was .493 instead of .513 (20 images)
and .536 instead of .532 (100 images)."""
PLAIN = 0.2
"""Share of the steps, at the end, without mosaics, because the images to predict are no mosaics."""
LOOKS = 10
"""The state is saved, and validated, about this many times; after each epoch if there are fewer than twice as many."""
AHEAD = 3
"""Batches that are drawn in advance."""
SMALLEST_BATCH = 2
MOST_THREADS = 8


@dataclass(frozen=True)
class Plan:
    """How to train. `mosaic` is the share of views that are mosaics. If the backbone is `pretrained`, it keeps its
    statistics of batch normalisation and is not trained at first."""

    epochs: int
    batch_size: int
    learning_rate: float
    flip: bool
    seed: int
    pretrained: bool
    patience: int | None = None
    mosaic: float = MOSAIC


@dataclass(frozen=True)
class Step:
    """Progress: steps done and total, and the last validation metrics."""

    done: int
    total: int
    message: str
    metrics: dict[str, float] = field(default_factory=dict)


Judge = Callable[[WholeDetector], float]
"""Returns the mAP of a network in evaluation mode on the validation images."""


def train(
    network: WholeDetector,
    album: Album,
    examples: Sequence[Example],
    plan: Plan,
    *,
    counts: Sequence[int],
    judge: Judge | None,
    checkpoint: Path,
    device: torch.device,
    on_step: Callable[[Step], None] = lambda _: None,
) -> State:
    """Train `network` in place on `examples`; afterwards it has the best average of the weights. `counts` (K,) are the
    numbers of boxes of each class.

    Continues an earlier call with the same `checkpoint`. If memory runs out, the batch is halved, down to two
    images, and the notes say so. Raises ValueError if none of the images can be read.
    """
    network.to(device).to(memory_format=torch.channels_last)
    state = resume(network, checkpoint) or State.of(network, plan.batch_size)
    while True:
        try:
            _cycle(network, album, list(examples), plan, state, counts, judge, checkpoint, device, on_step)
            break
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if not out_of_memory(error) or state.batch_size <= SMALLEST_BATCH:
                raise
            smaller = max(state.batch_size // 2, SMALLEST_BATCH)
        note = f"Memory ran out, so the batch was reduced to {many(smaller, 'image')}."
        torch.cuda.empty_cache()
        state = resume(network, checkpoint) or State.of(network, smaller)
        state.batch_size, state.notes = smaller, [*state.notes, note]
    network.load_state_dict(state.best or state.average)
    network.eval()
    return state


def _cycle(
    network: WholeDetector,
    album: Album,
    examples: list[Example],
    plan: Plan,
    state: State,
    counts: Sequence[int],
    judge: Judge | None,
    checkpoint: Path,
    device: torch.device,
    on_step: Callable[[Step], None],
) -> None:
    if _is_over(state, plan, judge):  # killed while its result was measured
        return
    per_epoch = max(-(-len(examples) // state.batch_size), 1)
    total, done = plan.epochs * per_epoch, state.epoch * per_epoch
    columns = torch.tensor(np.repeat(np.arange(len(counts)), counts))
    weights = class_weights(columns, len(counts)).to(device)
    body, head = _groups(network)
    optimiser = torch.optim.AdamW([{"params": body}, {"params": head}], betas=BETAS, weight_decay=DECAY)
    half = device.type == "cuda" and torch.cuda.is_bf16_supported()
    random = torch.Generator().manual_seed(plan.seed + done)
    every = max(plan.epochs // LOOKS, 1)
    take_in = state.averaging(network)
    said: dict[str, float] = {}
    losses: list[torch.Tensor] = []
    batches = _batches(album, examples, plan, state.batch_size, range(done, total), total)

    def learn(drawn: list[Drawn]) -> torch.Tensor:
        """Take a step on a batch; returns its loss."""
        images, truths = batched(drawn, device)
        values = recoloured(images.float(), COLOUR, random).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            loss = network.loss(values, truths, weights)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_([*body, *head], CLIP)
        if torch.isfinite(norm):  # otherwise this step would spoil all weights for good
            optimiser.step()
        return loss.detach()

    _learning(network, plan)
    for step, drawn in zip(range(done, total), batches, strict=True):
        began = time.perf_counter()
        _set_rates(optimiser, plan, step, done, total)
        if drawn:
            losses.append(learn(drawn))
            state.steps += 1
            take_in(min(AVERAGE, state.steps / (state.steps + 9.0)))
        state.images += len(drawn)
        state.seconds += time.perf_counter() - began
        epoch = step // per_epoch + 1
        on_step(Step(step + 1, total, f"Training, epoch {epoch} of {plan.epochs}", said))
        if (step + 1) % per_epoch:
            continue
        state.epoch = epoch
        if epoch % every and epoch != plan.epochs:
            continue
        row = {"epoch": float(epoch)}
        if losses:
            row["train_loss"] = float(torch.stack(losses).mean())
        losses.clear()
        if judge is not None:
            said = {"map_50_95": _judged(network, state, judge)}
            row["validation_map_50_95"] = said["map_50_95"]
            _learning(network, plan)
        else:
            state.best_epoch = epoch
        state.history.append({name: value for name, value in row.items() if math.isfinite(value)})
        over = _is_over(state, plan, judge)
        if over:
            state.notes.append(f"Ended after epoch {epoch}: no improvement for {plan.patience} epochs.")
        save(network, state, checkpoint)
        if over:
            return


def _is_over(state: State, plan: Plan, judge: Judge | None) -> bool:
    """Whether the patience is used up."""
    if judge is None or plan.patience is None or not state.epoch:
        return False
    return state.epoch - state.best_epoch >= plan.patience


def _judged(network: WholeDetector, state: State, judge: Judge) -> float:
    """Validate the average of the weights, keep it if it is the best so far, and restore the current weights."""
    now = {name: each.clone() for name, each in network.state_dict().items()}
    network.load_state_dict(state.average)
    network.eval()
    value = judge(network)
    network.load_state_dict(now)
    if value >= state.best_value:
        state.best_value, state.best_epoch = value, state.epoch
        state.best = {name: each.clone() for name, each in state.average.items()}
    return value


def _learning(network: WholeDetector, plan: Plan) -> None:
    """Set training mode. Published statistics of batch normalisation stay: those of small batches would be worse."""
    network.train()
    if plan.pretrained:
        for layer in network.modules():
            if isinstance(layer, _BatchNorm):
                layer.eval()


def _groups(network: WholeDetector) -> tuple[list[torch.nn.Parameter], list[torch.nn.Parameter]]:
    body: list[torch.nn.Parameter] = []
    head: list[torch.nn.Parameter] = []
    for name, parameter in network.named_parameters():
        (head if name.startswith(network.fresh) else body).append(parameter)
    return body, head


def _set_rates(optimiser: torch.optim.Optimizer, plan: Plan, step: int, first: int, total: int) -> None:
    """Set the learning rates of a step. They rise for WARM_UP steps from `first` on, also after a restart, and fall to
    zero."""
    rate = plan.learning_rate * 0.5 * (1 + math.cos(math.pi * step / total)) * min((step - first + 1) / WARM_UP, 1.0)
    body = rate / SLOWER if plan.pretrained else rate
    if plan.pretrained and step < ALONE * total:
        body = 0.0
    for group, each in zip(optimiser.param_groups, (body, rate), strict=True):
        group["lr"] = each


def _batches(
    album: Album, examples: list[Example], plan: Plan, size: int, steps: range, total: int
) -> Iterator[list[Drawn]]:
    """Yield a batch for each step; threads draw the next batches in advance. Unreadable images are left out, so that a
    batch may be empty.

    The batch of a step depends only on the seed and its number. Raises ValueError if no image can be read during as
    many batches as an epoch has.
    """
    per_epoch = max(-(-len(examples) // size), 1)
    empty = 0  # batches in a row

    def chosen(step: int) -> list[list[Example]]:
        epoch, place = divmod(step, per_epoch)
        order = np.random.default_rng([plan.seed, epoch]).permutation(len(examples))
        draws = np.random.default_rng([plan.seed, epoch, place])
        here = order[np.arange(place * size, (place + 1) * size) % len(order)]
        mixed = plan.mosaic if step < (1 - PLAIN) * total else 0.0
        several = draws.random(size) < mixed
        others = draws.integers(0, len(examples), (size, 3))
        return [
            [examples[i], *(examples[k] for k in others[n])] if several[n] else [examples[i]]
            for n, i in enumerate(here)
        ]

    with ThreadPoolExecutor(_threads(), thread_name_prefix="views") as threads:

        def begin(step: int) -> list[Future[Drawn | ImageProblem]]:
            return [
                threads.submit(album.draw, each, [plan.seed, step, number], flip=plan.flip)
                for number, each in enumerate(chosen(step))
            ]

        waiting = [begin(step) for step in steps[:AHEAD]]
        for step in steps:
            coming = waiting.pop(0)
            if step + AHEAD < steps.stop:
                waiting.append(begin(step + AHEAD))
            found = [each.result() for each in coming]
            drawn = [each for each in found if not isinstance(each, ImageProblem)]
            empty = 0 if drawn else empty + 1
            if empty >= per_epoch:
                raise ValueError("None of the labeled images can be read.")
            yield drawn


def _threads() -> int:
    """Number of threads that draw views. A GPU learns faster than one thread draws."""
    if torch.cuda.is_available():
        return min(max((os.cpu_count() or 2) - 1, 2), MOST_THREADS)
    return 2
