"""A round of the challenger, as a job: fine-tune the network, compare it with the head, and re-embed the pool if
better.

The network is the one that embeds the images, or a small one trained from scratch if images are compared by their
pixels. It gets a linear classifier, and each round starts again from the published weights: continuing from overfitted
weights learns new labels badly (Ash & Adams 2020). The comparison uses what would go live: a head on the embeddings of
the trained network. It predicts validation images, or each fold of the train labels after learning from the others; no
epoch is chosen on the images that judge it. A challenger that is not ahead after a fold is given up. Every epoch and
every batch is saved, so a kill costs at most one of them. On a computer without a GPU, a round that uses the pauses
takes few threads and yields to every other process.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from shared.storage.whole_files import write_whole
from shared.wire.trainer import ChallengerRound
from trainer.embeddings.auto_choice import recall
from trainer.embeddings.backbones.backbone import load_backbone
from trainer.embeddings.backbones.feature_blocks import VERSION, VIEWS, with_layout
from trainer.embeddings.backbones.saved_backbone import freeze
from trainer.embeddings.backbones.timm_networks import config_of, create
from trainer.embeddings.backbones.torch_networks import Module, TorchBackbone, device_named
from trainer.embeddings.block_weights import learned_shares, starting_shares
from trainer.embeddings.embedder import Embedder
from trainer.embeddings.transform import fit_projection
from trainer.evaluation.model_comparison import SURE
from trainer.jobs.challenge_cost import EPOCHS, PASSES, Pace, few_threads, in_pauses
from trainer.jobs.train import Photographs, photographs, tasks_of
from trainer.learners.fine_tuner import Plan, Step, fine_tune
from trainer.objectives.objective import objective_of
from trainer.tasks.network_task import Contest, Said
from trainer.tasks.task import Targets
from trainer.versions.active_backbone import AGAIN, EMBEDDINGS, Serving, embedder_of
from trainer.work.job_context import LabeledImage, Work
from trainer.work.starting_weights import SCRATCH, SCRATCH_SIZE
from trainer.work.stopwatch import Stopwatch

SCALE = 20.0
"""Length of the vectors for the classifier; at 1, its gradients are too small."""
FROM_SCRATCH = 3
"""Factor for the epochs when training from scratch."""
RATE = 4e-3
BATCH = 32
CHECKPOINT = "turn-{}.safetensors"


class WithClassifier(Module):
    """`body`, images → vectors (B, D), followed by a linear classifier: images → logits (B, K)."""

    def __init__(self, body: Module, dim: int, classes: int) -> None:
        super().__init__()
        self.body = body
        self.classifier = torch.nn.Linear(dim, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 3, S, S) → logits (B, K)."""
        return cast(torch.Tensor, self.classifier(SCALE * functional.normalize(self.body(images).float())))


@dataclass(frozen=True)
class Part:
    """A subset of the photographs, in the form that the fine-tuner reads."""

    photos: Photographs
    rows: NDArray[np.int64]

    @property
    def targets(self) -> Targets:
        """The labels as the network's targets (n, …)."""
        return self.photos.targets[self.rows]

    def pixels(self, number: int) -> NDArray[np.uint8]:
        """The image (3, S, S)."""
        return self.photos.pixels(int(self.rows[number]))


def run(work: Work) -> dict[str, Any]:
    """Run the round in the job's request; returns a ChallengerRound as JSON."""
    if in_pauses(work.job):
        torch.set_num_threads(min(torch.get_num_threads(), few_threads()))
    decided = work.folder / "decided.json"
    if decided.is_file():  # decided before a kill
        found = ChallengerRound.model_validate_json(decided.read_bytes())
    else:
        found = _Match(work).play()
        write_whole(decided, found.model_dump_json().encode())
    for checkpoint in work.folder.glob(CHECKPOINT.format("*")):
        checkpoint.unlink()
    if found.embeddings is not None:
        _embed_again(work, found.embeddings)
    return found.model_dump(mode="json")


class _Match:
    """The challenger against the head."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.watch = Stopwatch(work.folder)
        self.challenge = work.job.request["challenge"]
        self.device = device_named(work.settings.device)
        self.pace = Pace()
        self.notes: list[str] = []
        live, self.has_weights = _start(work, self.device)
        self.features = live.version  # of the embeddings that it competes with
        # With several views of an image, an epoch would take as many times as long.
        self.start = live.in_version(VERSION) if live.version == VIEWS else live
        self.task, values = tasks_of(work)
        labeled = [image for image in work.images if values(image) is not None]
        train = self.task.targets([values(each) for each in labeled if each.split == "train"])
        self.known = self.task.learnable(train)
        self.photos = photographs(work, labeled, self.known, self.start.input_size, self.notes)
        images = self.photos.images
        self.train = np.array([each.split == "train" for each in images])
        self.fold = np.array([-1 if each.fold is None else each.fold for each in images], np.int64)
        self.head = [each.head for each in images]
        self.truth = self.task.targets([values(each) for each in images])
        on_validation = self.challenge["ground"] == "validation"
        self.folds = [] if on_validation else sorted({int(k) for k in self.fold[self.train] if k >= 0})
        self.turns = len(self.folds) + 1  # number of trainings

    def play(self) -> ChallengerRound:
        """Train, compare, and freeze the backbone if the challenger is better."""
        said: dict[int, Said] = {}  # by row
        for turn, k in enumerate(self.folds):
            tested = self.train & (self.fold == k)
            answers = self._answers(turn, f"fold {turn + 1} of {len(self.folds)}", self.train & ~tested, tested)
            said |= zip(np.flatnonzero(tested).tolist(), answers, strict=True)
            if self._contest(said).gain.value <= 0:
                break
        backbone = None
        if not self.folds:
            judged = ~self.train & np.array([each is not None for each in self.head])
            backbone = self._trained(0, "", self.train)
            answers = self._head_over(backbone, self.train, judged)
            said = dict(zip(np.flatnonzero(judged).tolist(), answers, strict=True))
        found = self._found(said)
        if found.better:
            backbone = backbone or self._trained(len(self.folds), "on all labels", self.train)
            freeze(backbone, self.work.backbones)
            found.embeddings = backbone.key
        found.seconds = self.watch.stop()
        return found

    def _contest(self, said: Mapping[int, Said]) -> Contest:
        rows = sorted(said)
        return self.task.contest(self.truth[rows], [self.head[row] for row in rows], [said[row] for row in rows])

    def _found(self, said: Mapping[int, Said]) -> ChallengerRound:
        contest = self._contest(said)
        return ChallengerRound(
            round=self.challenge["round"],
            labels=self.challenge["labels"],
            ground=self.challenge["ground"],
            metric=self.task.goal,
            accuracy=contest.candidate,
            head=contest.base,
            gain=contest.gain,
            p=contest.p,
            better=contest.p < SURE and contest.gain.value > 0,
            notes=self.notes,
        )

    def _answers(self, turn: int, named: str, learn: NDArray[np.bool_], tested: NDArray[np.bool_]) -> list[Said]:
        """Predictions for the rows `tested`, by a head on a network trained on the rows `learn`."""
        kept = self.work.folder / f"fold-{turn}.json"
        ids = [each.image_id for each, wanted in zip(self.photos.images, tested, strict=True) if wanted]
        if kept.is_file():
            known = {int(each): said for each, said in json.loads(kept.read_text(encoding="utf-8")).items()}
            if known.keys() >= {*ids}:  # otherwise an image could not be read before a kill, and can be now
                return [known[each] for each in ids]
        said = self._head_over(self._trained(turn, named, learn), learn, tested)
        write_whole(kept, json.dumps(dict(zip(ids, said, strict=True))).encode())
        return said

    def _trained(self, turn: int, named: str, learn: NDArray[np.bool_]) -> TorchBackbone:
        """A network trained on the rows `learn`, as a backbone."""
        start = self.start
        torch.manual_seed(self.work.settings.seed)
        network = WithClassifier(deepcopy(start.network).requires_grad_(True), start.dim, len(self.known))
        rows = np.flatnonzero(learn)
        epochs = int(np.clip(PASSES // len(rows), *EPOCHS))
        epochs = 1 + epochs if self.has_weights else FROM_SCRATCH * epochs  # the first epoch trains only the classifier
        plan = Plan(
            objective=objective_of(several=self.task.several),
            epochs=epochs,
            batch_size=BATCH,
            learning_rate=RATE,
            patience=1,
            flip=self.work.settings.challenger_flip,
            seed=self.work.settings.seed,
            frozen=1 if self.has_weights else 0,
            statistics="kept" if self.has_weights and start.published else "followed",
            classifier="classifier",
            mean=start.mean,
            std=start.std,
        )

        def tell(step: Step) -> None:
            where = f"{named}, " if named else ""
            share = step.done / max(step.total, 1)
            left = self.pace.left((self.turns - turn - share) * step.total)
            self.work.tell(
                int(1000 * (turn + share)),
                1000 * self.turns,
                f"{where}epoch {step.epoch} of {epochs}",
                seconds_left=left,
            )

        self.pace.begin()
        checkpoint = self.work.folder / CHECKPOINT.format(turn)
        done = fine_tune(
            network, Part(self.photos, rows), None, plan, checkpoint=checkpoint, device=self.device, on_step=tell
        )
        self.notes += [note for note in done.notes if note not in self.notes]
        trained = TorchBackbone(
            start.name,
            network.body,
            input_size=start.input_size,
            mean=tuple(start.mean),
            std=tuple(start.std),
            device=self.device,
            published=start.published,
        )
        return trained.in_version(self.features)

    def _head_over(self, backbone: TorchBackbone, learn: NDArray[np.bool_], tested: NDArray[np.bool_]) -> list[Said]:
        """Predictions for `tested`, by a head fitted on the embeddings of `learn` by `backbone`."""
        vectors = {}
        for name, mask in (("learn", learn), ("tested", tested)):
            rows = np.flatnonzero(mask)
            parts = [
                backbone.embed(np.stack([self.photos.pixels(int(row)) for row in rows[start : start + BATCH]]))
                for start in range(0, len(rows), BATCH)
            ]
            vectors[name] = np.concatenate(parts)
        pool = vectors["learn"] if not self.folds else np.concatenate(list(vectors.values()))
        start = starting_shares(pool, backbone.blocks)
        projection = fit_projection(pool.mean(axis=0), pool, backbone.blocks, start)
        numbers = self.task.as_numbers(self.truth[learn])
        projection = projection.reweighed(
            learned_shares(projection.transform(vectors["learn"]), numbers, projection, start)
        )
        learned, seed = projection.transform(vectors["learn"]), self.work.settings.seed
        head = self.task.learner.fit(learned, self.truth[learn], previous=None, seed=seed)
        return self.task.says(head, projection.transform(vectors["tested"]))


def _start(work: Work, device: torch.device) -> tuple[TorchBackbone, bool]:
    """The network at the start of a round, and whether it has pretrained weights."""
    folder = work.folder.parent.parent / EMBEDDINGS
    remembered, small_images = recall(folder) or (None, True)  # as in the trainer; nothing is downloaded here
    found = load_backbone(work.settings, folder, remembered=remembered, small_images=small_images)
    if isinstance(found, TorchBackbone):
        return found, True
    config = config_of("backbone", SCRATCH)
    torch.manual_seed(work.settings.seed)
    network = with_layout(create(SCRATCH, config, SCRATCH_SIZE))
    mean, std = tuple(config.mean), tuple(config.std)
    return TorchBackbone(SCRATCH, network, input_size=SCRATCH_SIZE, mean=mean, std=std, device=device), False


def _embed_again(work: Work, key: str) -> None:
    """Embed all images with the embeddings `key`, while the old ones stay live."""
    trainer = work.folder.parent.parent
    serving = Serving.read(trainer, work.settings)
    if serving is not None and serving.key == key:  # killed after the swap: they belong to the trainer now
        return
    embedder = embedder_of(key, work.settings, trainer, work.photos.fetch)
    try:
        _embed_all(embedder, work.images, embedder.appetite, work.tell)
    finally:
        embedder.close()


def _embed_all(
    embedder: Embedder, images: Sequence[LabeledImage], look: int, tell: Callable[[int, int, str], None]
) -> None:
    pending = {image.image_id: image.entry for image in images if not embedder.has(image.sha256)}
    while pending:
        tell(len(images) - len(pending), len(images), AGAIN)
        first = [pending[each] for each in list(pending)[:look]]
        for entry in embedder.step(first, more_coming=False):
            pending.pop(entry.id)
        for image_id in embedder.problems:  # the trainer will find and report them too
            pending.pop(image_id, None)
