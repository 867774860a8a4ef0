"""Schedules the challenger: when a round starts, what it is given, and what follows from its result.

A round fine-tunes the network in its own process (`trainer.jobs.challenge`). The process is halted while the loop
learns or is paused, and ended while a requested job runs or the trainer is stopped. A round starts when the labels have
grown by a tenth. The challenger takes over only if it is significantly better. Its process has then embedded the pool
again while the old embeddings stayed live, and the loop swaps them between two rounds.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np

from shared.figures import p_in_words, percent
from shared.settings.services import TrainerSettings
from shared.wire.jobs import ENDED, Job
from shared.wire.trainer import ChallengerRound, ChallengerView
from trainer.embeddings.precomputed import OwnVectors
from trainer.embeddings.space import Space
from trainer.evaluation.cross_validation import folds_of, head_says
from trainer.evaluation.model_comparison import SURE, pair
from trainer.jobs.job_queue import Jobs
from trainer.jobs.requests import classes_of, image_rows
from trainer.loop.ingest import Ingest
from trainer.loop.loop import Loop
from trainer.loop.rounds import fit
from trainer.loop.swap import Replacement
from trainer.sync.replica import Replica
from trainer.sync.snapshot import Snapshot
from trainer.tasks.targets import train_targets
from trainer.versions.active_backbone import AGAIN
from trainer.versions.registry import RefusedVersion, Registry, UnknownVersion

logger = logging.getLogger(__name__)

ENOUGH_VALIDATION = 200
"""Validation labels needed to compare on them; with fewer, out-of-fold predictions on train labels are compared."""
LEAST = 60
"""Train labels that a round needs, and labels needed to judge it out of fold."""
FOLDS = 3
GROWTH = 1.1
"""Growth of the labels since the last round that starts the next one."""
KEPT = 5
"""Rounds remembered."""
LOOK_SECONDS = 0.5


class Challenger:
    """Submits rounds to `jobs`, after requested jobs (`others`).

    `prepare` builds the pool in the embeddings of a key.
    """

    def __init__(
        self,
        settings: TrainerSettings,
        *,
        jobs: Jobs,
        others: Jobs,
        loop: Loop,
        replica: Replica,
        registry: Registry,
        prepare: Callable[[str], Ingest],
        problem: str | None = None,
    ) -> None:
        self._settings = settings
        self._jobs = jobs
        self._others = others
        self._loop = loop
        self._replica = replica
        self._registry = registry
        self._prepare = prepare
        self._problem = f"{problem} " if problem else ""  # problem at the start with embeddings that had taken over
        self._ended = threading.Event()
        self._tried: str | None = None  # version of the model for which a round was last started or ruled out
        self._spared = 0  # number of labels at which no network could have been significantly better
        self._why = "waits for labels"  # reason why no round is running
        self._thread = threading.Thread(target=self._run, name="challenger", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Stop the thread; a running round continues at the next start."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(5.0)

    def view(self) -> ChallengerView:
        """What the challenger does now."""
        latest, last = self._latest(), self._last()
        live = self._loop.live
        serving = live.serving.version if live.serving is not None else None
        problem = self._problem
        known: dict[str, Any] = {"last": last, "serving": serving}
        known["round"] = int(latest.request["challenge"]["round"]) if latest is not None else 0
        if latest is None or latest.state in ENDED:
            off = self._off()
            if latest is not None and latest.error:
                problem += f"Round {known['round']} failed: {latest.error} "
            return ChallengerView(state="off" if off else "waiting", message=f"{problem}{off or self._why}", **known)
        said, resting = latest.progress, self._resting()
        known |= {"done": said.done, "total": said.total}
        if resting:
            return ChallengerView(state="halted", message=f"Round {known['round']} waits: {resting}", **known)
        doing = said.message or "begins"
        return ChallengerView(
            state="embedding" if doing == AGAIN else "training", message=f"Round {known['round']}: {doing}", **known
        )

    def conclude(self, job: Job) -> None:
        """Let a better challenger take over. Raises NotNow while the trainer is stopping, and ValueError."""
        found = ChallengerRound.model_validate(job.result)
        logger.info("Challenger, round %d: %.3f against %.3f, p = %.4f", *_figures(found))
        if found.embeddings is None or self._serves(found.embeddings):
            return
        if str(self._replica.log_id) != job.request["log_id"]:
            raise ValueError("The challenger learned labels of another log.")
        name = f"challenger-{job.id}"
        reason = (
            f"the challenger took over: {percent(found.accuracy.value, 1)} against {percent(found.head.value, 1)} on "
            f"{found.accuracy.n} images ({found.ground}), {p_in_words(found.p)}"
        )
        self._loop.swap(Replacement(self._prepare(found.embeddings), name, reason, found.seconds))

    # ------------------------------------------------------------ when

    def _run(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            try:
                self._look()
            except Exception as error:  # it must not end the thread; the loop continues in any case
                logger.exception("The challenger")
                self._why = f"cannot begin a round: {error}"
                self._ended.wait(30.0)

    def _look(self) -> None:
        off = self._off()
        self._jobs.park(bool(off or self._gone()))
        latest = self._latest()
        if off and latest is not None and latest.state not in ENDED:
            self._jobs.cancel(latest.id)
        if off or self._gone() or (latest is not None and latest.state not in ENDED):
            return
        model, needed, number = self._loop.live.model, LEAST, 1
        if latest is not None:
            number = int(latest.request["challenge"]["round"]) + 1
            if latest.request["log_id"] == str(self._replica.log_id):
                needed = max(LEAST, int(np.ceil(GROWTH * latest.request["challenge"]["labels"])))
        needed = max(needed, int(np.ceil(GROWTH * self._spared)))
        if model is None or len(model.rows) < needed:
            self._why = f"the next round begins at {needed:,} labels of train images"
            return
        if not self._loop.live.ingest.complete():
            self._why = "waits until all images are embedded"
            return
        pool, snapshot = self._loop.live.pool, Snapshot.of(self._replica)
        if model.version != self._tried and pool is not None and snapshot is not None:
            self._tried = model.version
            self._begin(number, pool.space(), snapshot)

    def _off(self) -> str | None:
        """Why there are no rounds, in one sentence, or None."""
        if self._settings.challenger == "off":
            return "off (setting 'challenger')"
        model = self._loop.live.model
        if model is not None and not model.task.trains_networks:
            return f"off: no network is trained for the task {model.task.name!r}"
        if isinstance(self._loop.live.embedder.backbone, OwnVectors):
            return "off: embeddings come from a file, so there is no network to train"
        if find_spec("fastai") is None:
            return "off: training needs fastai: pip install 'flywheel-labeling[fine-tune]'"
        device = getattr(self._loop.live.embedder.backbone, "device", None)  # only networks have a device
        if self._settings.challenger == "auto" and (device is None or device.type == "cpu"):
            return "off: there is no GPU for the network (setting 'challenger', auto)"
        return None

    def _gone(self) -> str | None:
        """Why a round must free the machine, or None."""
        if self._loop.control.desired.wish == "stop":
            return "the trainer is stopped"
        if self._others.busy:
            return "a requested job goes first"
        return None

    def _resting(self) -> str | None:
        return "the trainer is paused" if self._loop.control.desired.wish == "pause" else self._gone()

    # ------------------------------------------------------------ what

    def _begin(self, number: int, space: Space, snapshot: Snapshot) -> None:
        ground, judges = self._judges(space, snapshot)
        if ground is None:
            return
        images = [{**row, **judges.get(int(row["image_id"]), {})} for row in image_rows(self._replica)]
        labels = len(train_targets(space, snapshot)[0])
        truth, head = np.array([(row["class_id"], row["head"]) for row in images if "head" in row]).T
        if pair(truth, head, truth).p >= SURE:
            self._spared = labels
            self._why = (
                f"the head errs on {(head != truth).sum()} of {len(truth)} images, too few for any network to be "
                f"significantly better; this is checked again with {int(np.ceil(GROWTH * labels)):,} labels"
            )
            return
        with self._replica.lock:
            classes = classes_of(self._replica.fold)
        said = {
            "challenge": {"round": number, "labels": labels, "ground": ground},
            "classes": classes,
            "log_id": str(snapshot.log_id),
            "acked_seq": snapshot.acked_seq,
        }
        kept = [row for row in images if row["split"] != "test"] + [
            {**row, "class_id": None}
            for row in images
            if row["split"] == "test"  # only embedded again
        ]
        self._jobs.submit("challenge", said, kept)

    def _judges(self, space: Space, snapshot: Snapshot) -> tuple[str | None, dict[int, dict[str, int]]]:
        """What is compared on, and for each judging image the head's prediction and its fold."""
        rows, given = train_targets(space, snapshot)
        seed = self._settings.seed
        asked = [
            image for image in space.held.row_of if image in snapshot.labels and space.split_of(image) == "validation"
        ]
        if len(asked) >= ENOUGH_VALIDATION:
            model = fit(space, snapshot, None, seed=seed)
            if model is not None:
                held = space.held.rows[[space.held.row_of[image] for image in asked]]
                said = model.head.classes[model.head.predict_proba(held).argmax(axis=1)]
                return "validation", {image: {"head": int(k)} for image, k in zip(asked, said, strict=True)}
        ids = space.train.ids[rows]
        judged = ~np.isin(ids, list(self._learned()))
        if judged.sum() < LEAST:
            self._why = f"the next challenger needs {LEAST} labels new to the last one; there are {judged.sum()}"
            return None, {}
        vectors = space.train.rows[rows]
        fold = folds_of(vectors, given, judged, folds=FOLDS, seed=seed)
        said = head_says(vectors, given, fold, seed=seed)
        return "out of fold", {
            int(image): {"fold": int(k), "head": int(label)}
            for image, k, label in zip(ids, fold, said, strict=True)
            if k >= 0
        }

    def _learned(self) -> set[int]:
        """Images whose labels trained the live embeddings, so that a head on them cannot be judged by these."""
        serving = self._loop.live.serving
        if serving is None or serving.trained is None:
            return set()
        try:
            rows = self._registry.get(serving.trained).dataset()
        except (UnknownVersion, RefusedVersion):
            with self._replica.lock:
                return set(self._replica.catalog)
        return {int(row["image_id"]) for row in rows if row["split"] == "train"}

    def _serves(self, key: str) -> bool:
        serving = self._loop.live.serving
        return serving is not None and serving.key == key

    def _latest(self) -> Job | None:
        return next(iter(self._jobs.list()), None)

    def _last(self) -> ChallengerRound | None:
        done = (job for job in self._jobs.list() if job.state == "done")
        latest = next(done, None)
        return ChallengerRound.model_validate(latest.result) if latest is not None else None


def _figures(found: ChallengerRound) -> tuple[int, float, float, float]:
    return found.round, found.accuracy.value, found.head.value, found.p
