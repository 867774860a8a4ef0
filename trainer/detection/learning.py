"""Trains the detector continuously: a few warm-started steps at a time, while a person goes on labeling.

Only the head is trained in steps. What reads the features inside boxes is fitted anew in each round (`region_fitting`),
before the steps: so it knows every answer, even if a slow machine takes fewer of them. How well boxes fit is learned
from the boxes that the previous detector finds, or in the first round from those of the new one.

The optimiser is AdamW at a constant rate, and the detector uses the running average of the weights. There is no
schedule that would have to restart with every new label, and there are no epochs: each step draws views of random
labeled images. A step takes about 60 ms on one thread. `should_stop` is called before each step.

The same examples, seed and `previous` give the same detector on the same machine.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from shared.images.opening import ImageProblem
from trainer.detection.detector import FIRST_THRESHOLD, Detector, Example, Training
from trainer.detection.feature_maps import VIEWS, FeatureMaps, View
from trainer.detection.head import CLASSES, FIRST_SCORE, BoxHead, points, with_classes
from trainer.detection.loss import Truth, class_weights, loss_of
from trainer.detection.region_fitting import fit_classes, fit_edges, fit_tightness

log = logging.getLogger(__name__)

STEPS = 140
"""Training steps per round."""
BATCH = 8
RATE = 2e-3
DECAY = 1e-3
BETAS = (0.9, 0.99)
CLIP = 5.0
WARM_UP = 10
AVERAGE = 0.98
"""Decay of the running average: the share of the earlier average that remains after a step."""


def fit(
    examples: Sequence[Example],
    maps: FeatureMaps,
    *,
    previous: Detector | None = None,
    steps: int = STEPS,
    seed: int = 0,
    should_stop: Callable[[], bool] = lambda: False,
    classes: Collection[int] | None = None,
    head_only: bool = False,
) -> Detector:
    """Train for `steps` more steps on `examples`, all labeled images so far, and return the new detector.

    Training continues from `previous`, unless that belongs to another frozen network. Missing feature maps are
    computed. An image that cannot be read is skipped. `classes` are the project's classes; the default is those of
    `previous` and of the examples. A new class gets its own weights, and a removed class loses them. If `should_stop`
    returns True, the result is what was learned until then; a first detector takes one step all the same. `head_only`
    leaves out what reads the features inside boxes: the result is there to be trained further, not to detect.

    Raises ValueError if the examples contain no box, and OSError if maps cannot be written.
    """
    pyramid = maps.pyramid
    if previous is not None and not (previous.pyramid == pyramid.key and _is_finite(previous)):
        previous = None
    ids = _classes(examples, previous, classes)
    session = _Session(maps, examples, ids, previous, seed)
    regions: Mapping[str, torch.Tensor] | None = None
    edges, fine_edges = (previous.edges, previous.fine_edges) if previous is not None else (None, None)
    tightness = previous.tightness if previous is not None else None
    bare = previous is None or (previous.regions, previous.edges, previous.tightness) == (None, None, None)
    columns = {int(each): column for column, each in enumerate(ids)}
    if head_only:
        edges = fine_edges = tightness = None
    elif steps:
        regions = fit_classes(examples, maps, columns, seed)
        edges, fine_edges = fit_edges(examples, maps, columns, seed)
        if not bare and previous is not None:
            tightness = fit_tightness(examples, maps, columns, seed, previous)
    elif previous is not None and previous.classes.tolist() == ids.tolist():
        regions = previous.regions
    for made in range(steps):
        begins = bare and not made  # without any step, the caller would throw away the fits above
        if (should_stop() and not begins) or not session.step():
            break
    threshold = previous.threshold if previous is not None else FIRST_THRESHOLD
    detector = replace(session.detector(threshold), regions=regions, edges=edges, fine_edges=fine_edges)
    if bare and detector.steps and not head_only:
        tightness = fit_tightness(examples, maps, columns, seed, detector)
    return replace(detector, tightness=tightness)


def _is_finite(detector: Detector) -> bool:
    return all(bool(torch.isfinite(tensor).all()) for tensor in detector.weights.values())


def _classes(
    examples: Sequence[Example], previous: Detector | None, classes: Collection[int] | None
) -> NDArray[np.int64]:
    seen = {int(label) for example in examples for label in example.labels}
    if classes is not None:
        seen &= set(classes)
    if not seen:
        raise ValueError("a detector needs at least one box")
    if previous is not None:
        seen |= {int(each) for each in previous.classes if classes is None or int(each) in classes}
    return np.array(sorted(seen), np.int64)


@dataclass(frozen=True)
class _Weights:
    """Name → tensor: the weights, their average and the moments of the optimiser."""

    now: dict[str, torch.Tensor]
    average: dict[str, torch.Tensor]
    first: dict[str, torch.Tensor]
    second: dict[str, torch.Tensor]
    steps: int


class _Session:
    """The state of one call of `fit`."""

    def __init__(
        self,
        maps: FeatureMaps,
        examples: Sequence[Example],
        classes: NDArray[np.int64],
        previous: Detector | None,
        seed: int,
    ) -> None:
        self._maps = maps
        self._device = maps.pyramid.device
        self._column = {int(class_id): column for column, class_id in enumerate(classes)}
        self._classes = classes
        self._examples = [_known(example, self._column) for example in examples]
        counted = np.concatenate([each.labels for each in self._examples])
        columns = torch.tensor([self._column[int(label)] for label in counted], dtype=torch.int64)
        self._class_weights = class_weights(columns, len(classes)).to(self._device)
        centres, strides = points(maps.pyramid.size)
        self._centres, self._strides = centres.to(self._device), strides.to(self._device)
        start = _start(maps, classes, previous, seed)
        self._steps = start.steps
        self._draws = np.random.default_rng([seed, self._steps])
        self._order: list[int] = []
        self._head = BoxHead(maps.pyramid.channels, maps.pyramid.size, len(classes))
        self._head.load_state_dict(start.now)
        self._head.to(self._device).to(memory_format=torch.channels_last).train()
        self._average = {name: tensor.to(self._device) for name, tensor in start.average.items()}
        self._optimiser = torch.optim.AdamW(self._head.parameters(), lr=RATE, betas=BETAS, weight_decay=DECAY)
        for name, parameter in self._head.named_parameters():
            if self._steps:
                self._optimiser.state[parameter] = {
                    "step": torch.tensor(float(self._steps)),
                    "exp_avg": start.first[name].to(self._device),
                    "exp_avg_sq": start.second[name].to(self._device),
                }

    def step(self) -> bool:
        """Learn from one batch. Return False if no image of it can be read."""
        batch = self._batch()
        if not batch:
            return False
        for group in self._optimiser.param_groups:
            group["lr"] = RATE * min(1.0, (self._steps + 1) / WARM_UP)
        levels = [_batched([maps[i] for maps, _ in batch], self._device) for i in range(3)]
        logits, corners = self._head(*levels)
        truths = [truth for _, truth in batch]
        loss = loss_of(logits, corners, truths, self._class_weights, self._centres, self._strides)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self._head.parameters(), CLIP)
        self._steps += 1
        if not torch.isfinite(norm):  # one such step would ruin the weights permanently
            log.warning("Skipped a training step of the detector: its gradient is not finite.")
            return True
        self._optimiser.step()
        kept = min(AVERAGE, self._steps / (self._steps + 9.0))  # at first, the average quickly forgets its random start
        with torch.no_grad():
            for name, parameter in self._head.named_parameters():
                self._average[name].lerp_(parameter, 1 - kept)
        return True

    def detector(self, threshold: float) -> Detector:
        """The detector as learned so far."""
        moments = {
            name: self._optimiser.state[parameter]
            for name, parameter in self._head.named_parameters()
            if parameter in self._optimiser.state
        }
        training = Training(
            weights=_kept(dict(self._head.named_parameters())),
            first=_kept({name: each["exp_avg"] for name, each in moments.items()}),
            second=_kept({name: each["exp_avg_sq"] for name, each in moments.items()}),
            steps=self._steps,
        )
        pyramid = self._maps.pyramid
        return Detector(
            classes=self._classes,
            weights=_kept(self._average),
            channels=pyramid.channels,
            size=pyramid.size,
            pyramid=pyramid.key,
            threshold=threshold,
            training=training,
        )

    # ---------------------------------------------------------------- batches

    def _batch(self) -> list[tuple[tuple[torch.Tensor, ...], Truth]]:
        batch: list[tuple[tuple[torch.Tensor, ...], Truth]] = []
        while len(batch) < BATCH and self._examples:
            if not self._order:
                self._order = self._draws.permutation(len(self._examples)).tolist()
            example = self._examples[self._order.pop()]
            try:
                view = self._maps.view(example.sha256, int(self._draws.integers(VIEWS)))
            except ImageProblem as problem:
                log.warning("Skipped an image in the detector's training: it %s.", problem)
                self._examples = [each for each in self._examples if each is not example]
                self._order = []
                continue
            batch.append(self._placed(view, example, mirror=bool(self._draws.random() < 0.5)))
        return batch

    def _placed(self, view: View, example: Example, *, mirror: bool) -> tuple[tuple[torch.Tensor, ...], Truth]:
        corners, visible = view.placement.onto_canvas(example.boxes)
        corners = corners[visible]
        maps: tuple[torch.Tensor, ...] = view.maps
        if mirror:  # nearly the maps of the mirrored canvas, at no cost
            maps = tuple(level.flip(-1) for level in maps)
            left, top, right, bottom = corners.T
            corners = np.stack([view.placement.size - right, top, view.placement.size - left, bottom], axis=1)
        columns = [self._column[int(label)] for label in example.labels[visible]]
        return maps, Truth(
            torch.from_numpy(np.ascontiguousarray(corners, dtype=np.float32)).to(self._device),
            torch.tensor(columns, dtype=torch.int64, device=self._device),
        )


def _known(example: Example, column: Mapping[int, int]) -> Example:
    """Drop boxes whose class is no longer in the project."""
    kept = np.array([int(label) in column for label in example.labels], dtype=bool)
    return example if kept.all() else Example(example.sha256, example.boxes[kept], example.labels[kept])


def _start(maps: FeatureMaps, classes: NDArray[np.int64], previous: Detector | None, seed: int) -> _Weights:
    """The initial state: that of `previous`, or random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = BoxHead(maps.pyramid.channels, maps.pyramid.size, len(classes))
    fresh = {name: tensor.detach().clone() for name, tensor in head.state_dict().items()}
    if previous is None:
        return _Weights(fresh, {name: each.clone() for name, each in fresh.items()}, {}, {}, 0)
    before, now = previous.classes.tolist(), classes.tolist()

    def grown(tensors: Mapping[str, torch.Tensor], first: float) -> dict[str, torch.Tensor]:
        fitting = with_classes(tensors, before, now, first=first) if before != now else tensors
        return {name: tensor.clone() for name, tensor in fitting.items()}

    training = previous.training
    if training is None or not training.steps:  # a saved version has weights, but no moments
        return _Weights(grown(previous.weights, FIRST_SCORE), grown(previous.weights, FIRST_SCORE), {}, {}, 0)
    started = _Weights(
        grown(training.weights, FIRST_SCORE),
        grown(previous.weights, FIRST_SCORE),
        grown(training.first, 0.0),
        grown(training.second, 0.0),
        training.steps,
    )
    for place, class_id in enumerate(now):
        if class_id not in before:  # a new class starts with small random weights, like a new head
            started.now[CLASSES[0]][place] = fresh[CLASSES[0]][place]
    return started


def _batched(maps: Sequence[torch.Tensor], device: torch.device) -> torch.Tensor:
    """Stack maps to (B, C, H, W) with channels last in memory, which makes a step a sixth faster on a CPU."""
    return torch.stack(list(maps)).to(device).float().contiguous(memory_format=torch.channels_last)


def _kept(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}
