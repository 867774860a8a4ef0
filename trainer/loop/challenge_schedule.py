"""Schedules the challenger: starts rounds, prepares their data, and processes their results.

A round fine-tunes the network in its own process (`trainer.jobs.challenge`). The process is halted while the loop
learns or is paused, and ended while a requested job runs or the trainer is stopped. A round starts when the labels have
grown by a tenth, and only if the challenger can win. Without a GPU, `auto` also waits for many labels and for pauses,
and after a challenger that was not ahead it waits until the labels have grown by half. It starts no round there that
would take too long (`trainer.jobs.challenge_cost`). If the images get other features meanwhile, the round begins again.
The challenger takes over only if it is significantly better. By then its process has re-embedded the pool while the old
embeddings stayed live. The loop swaps them between two rounds.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

import numpy as np

from shared.figures import METRIC_NAMES, duration, many, p_in_words, percent
from shared.settings.services import TrainerSettings
from shared.tasks import registry as shared_tasks
from shared.wire.fields import Split
from shared.wire.jobs import ENDED, Job
from shared.wire.trainer import ChallengerRound, ChallengerView
from trainer.embeddings.precomputed import OwnVectors
from trainer.embeddings.space import Space
from trainer.evaluation.cross_validation import folds_of
from trainer.evaluation.model_comparison import SURE
from trainer.jobs.challenge_cost import seconds_of_round, seconds_per_image
from trainer.jobs.job_queue import Jobs, Outdated
from trainer.jobs.requests import as_row, classes_of, image_rows
from trainer.loop.ingest import Ingest
from trainer.loop.loop import Loop
from trainer.loop.rounds import fit
from trainer.loop.swap import Replacement
from trainer.sync.replica import Replica
from trainer.sync.snapshot import Snapshot
from trainer.tasks.registry import network_task
from trainer.tasks.targets import held_out, train_targets
from trainer.versions.active_backbone import AGAIN
from trainer.versions.registry import RefusedVersion, Registry, UnknownVersion

logger = logging.getLogger(__name__)

ENOUGH_VALIDATION = 200
"""Minimum validation labels for a comparison on them. With fewer, out-of-fold predictions on train labels are used."""
LEAST = 60
"""Train labels that a round needs, and labels needed to judge it out of fold."""
FOLDS = 3
GROWTH = 1.1
"""Growth of the labels since the last round that starts the next one."""
GROWTH_BEHIND = 1.5
"""Growth for rounds in pauses, if the last challenger was not ahead. A tenth more labels would hardly change that, and
a round can take hours.
"""
KEPT = 5
"""Rounds remembered."""
LOOK_SECONDS = 0.5
FAILED_SECONDS = 30.0  # until a failed look is repeated
LEAST_IN_PAUSES = 1_000
"""Train labels that a round needs if it uses the pauses of a computer without a GPU. On 3,781 photos of clothing the
head was as good below: 80.4 % each at 1,000 labels, 80.6 against 84.5 % at 3,000 (`benchmarks.challenger`).
"""
QUIET_SECONDS = 10.0
"""Seconds without a label that count as a pause. The labeler holds back an incomplete batch for five seconds."""
LONGEST_SECONDS = 2 * 3_600.0
"""Computing time of the longest round in pauses. A longer one would take days, and its labels would be outdated."""


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
        self._spared = 0, ""  # number of labels at which no network could have been significantly better, and why
        self._why = "waits for labels"  # reason why no round is running
        self._aim = ""
        self._folds = FOLDS  # of the next round; 0 if validation labels judge
        self._aimed: tuple[str, int, int] | None = None  # model, labels needed and train images of the aim
        self._per_image = "", 0.0  # key of embeddings, and seconds to embed an image on this computer
        self._not_before = 0.0  # time of the next look, after one that failed
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
        """The current state of the challenger."""
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
            known["aim"] = "" if off else self._aim
            return ChallengerView(state="off" if off else "waiting", message=f"{problem}{off or self._why}", **known)
        known["aim"] = _aim(latest.request["challenge"].get("judges", 0), latest.request["challenge"]["ground"])
        said, resting = latest.progress, self._resting()
        known |= {"done": said.done, "total": said.total}
        if resting:
            return ChallengerView(state="halted", message=f"Round {known['round']} waits: {resting}", **known)
        doing = said.message or "begins"
        known["seconds_left"] = said.seconds_left
        return ChallengerView(
            state="embedding" if doing == AGAIN else "training", message=f"Round {known['round']}: {doing}", **known
        )

    def conclude(self, job: Job) -> None:
        """Replace the live model by a better challenger. Raises NotNow while the trainer is stopping, Outdated if the
        labels or features are others now, and ValueError.
        """
        found = ChallengerRound.model_validate(job.result)
        figures = found.round, found.accuracy.value, found.head.value, found.p
        logger.info("Challenger, round %d: %.3f against %.3f, p = %.4f", *figures)
        if found.embeddings is None or self._loop.live.serves(found.embeddings):
            return
        if str(self._replica.log_id) != job.request["log_id"]:
            raise Outdated("The challenger learned labels of another log.")
        features = job.request["challenge"].get("features", self._loop.live.embedder.key)
        name = _name(job)
        reason = (
            f"the challenger took over: {METRIC_NAMES[found.metric]} {percent(found.accuracy.value, 1)} against "
            f"{percent(found.head.value, 1)} on {found.accuracy.n} images ({found.ground}), {p_in_words(found.p)}"
        )
        self._loop.swap(Replacement(self._prepare(found.embeddings), name, reason, found.seconds, features))

    # ------------------------------------------------------------ when

    def _run(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            try:
                self._jobs.give_way(self._labeling())
                if time.monotonic() >= self._not_before:
                    self._look()
            except Exception as error:  # it must not end the thread; the loop continues in any case
                logger.exception("The challenger")
                self._why = f"cannot begin a round: {error}"
                self._not_before = time.monotonic() + FAILED_SECONDS

    def _look(self) -> None:
        off = self._off()
        gone = self._gone()
        self._jobs.park(bool(off or gone))
        latest = self._latest()
        if latest is not None and latest.state not in ENDED and (off or self._is_outdated(latest)):
            self._jobs.cancel(latest.id)
        if gone:
            self._why = f"no round begins now: {gone}"
        if off or gone or (latest is not None and latest.state not in ENDED):
            return
        live, in_pauses = self._loop.live, self._in_pauses()
        model, pool = live.model, live.pool
        needed, because = self._needed(latest, in_pauses=in_pauses)
        labels = len(model.rows) if model is not None else 0
        complete = self._loop.live.ingest.complete()
        trainable = len(pool.space().train.ids) if pool is not None and complete else needed
        if model is not None and pool is not None and (model.version, needed, trainable) != self._aimed:
            self._aim = self._aim_of(pool.space(), max(needed, labels)) if needed <= trainable else ""
            self._aimed = model.version, needed, trainable
        if trainable < needed:
            self._why = (
                f"no round can begin with only {many(trainable, 'train image')}: it needs {needed:,} labels{because}"
            )
        elif model is None or pool is None or labels < needed:
            self._why = f"the next round begins at {needed:,} labels of train images (now {labels:,}){because}"
        elif not complete:
            self._why = "waiting until all images are embedded"
        elif in_pauses and self._too_long(labels, len(pool)):
            self._why = (
                f"a round would take about {duration(self._seconds(labels, len(pool)))} on this computer; without a "
                f"GPU, none is begun that takes more than {duration(LONGEST_SECONDS)} (setting 'challenger', auto)"
            )
        elif self._loop.control.paused:
            self._why = "the next round begins when the trainer is no longer paused"
        elif model.version != self._tried:
            snapshot = Snapshot.of(self._replica)
            if self._labeling():
                self._why = f"the next round begins when nobody has labeled for {duration(QUIET_SECONDS)}"
            elif snapshot is not None:
                self._tried = model.version
                number = int(latest.request["challenge"]["round"]) + 1 if latest is not None else 1
                self._begin(number, pool.space(), snapshot, in_pauses=in_pauses, features=live.embedder.key)

    def _needed(self, latest: Job | None, *, in_pauses: bool) -> tuple[int, str]:
        """Labels of train images that the next round needs, and the reason in brackets."""
        needed, because = LEAST, ""
        if in_pauses:
            needed = LEAST_IN_PAUSES
            because = " (with fewer, the quick head is usually as good)"
        if latest is not None and latest.state != "cancelled" and latest.request["log_id"] == str(self._replica.log_id):
            behind = in_pauses and _was_behind(latest)
            grown = int(np.ceil((GROWTH_BEHIND if behind else GROWTH) * latest.request["challenge"]["labels"]))
            if grown > needed:
                more = "half as many more as the last round had, which was not ahead"
                needed, because = grown, f" ({more if behind else 'a tenth more than the last round had'})"
        spared = int(np.ceil(GROWTH * self._spared[0]))
        return (spared, f" ({self._spared[1]})") if spared > needed else (needed, because)

    def _off(self) -> str | None:
        """Why there are no rounds, in one sentence, or None."""
        if self._settings.challenger == "off":
            return "off (setting 'challenger')"
        model = self._loop.live.model
        if model is not None and not model.task.has_challenger:
            return f"off: {model.task.no_network or f'no network is trained for the task {model.task.name!r}'}"
        if isinstance(self._loop.live.embedder.backbone, OwnVectors):
            return "off: embeddings come from a file, so there is no network to train"
        if find_spec("fastai") is None:
            return "off: training needs fastai: pip install 'flywheel-labeling[fine-tune]'"
        backbone = self._loop.live.embedder.backbone
        if self._settings.challenger == "auto" and backbone is not None and self._loop.live.device is None:
            return 'off: no network embeds the images (with challenger = "on", one is trained from scratch)'
        return None

    def _in_pauses(self) -> bool:
        """Whether rounds only use pauses: without a GPU, unless the setting asks for more."""
        return self._settings.challenger == "auto" and self._loop.live.device == "cpu"

    def _is_outdated(self, job: Job) -> bool:
        """Whether the challenger of a round cannot take over, because the log or the features changed. Not its own."""
        live, features = self._loop.live, job.request["challenge"].get("features")
        if live.embedder.backbone is None or (live.serving is not None and live.serving.version == _name(job)):
            return False
        return job.request["log_id"] != str(self._replica.log_id) or features not in (None, live.embedder.key)

    def _labeling(self) -> bool:
        """Whether a round in pauses gives way to somebody who labels."""
        return self._in_pauses() and self._loop.control.quiet_seconds < QUIET_SECONDS

    def _too_long(self, labels: int, images: int) -> bool:
        """Whether a round would take too long on this computer, whose speed is measured in the first pause."""
        key = self._loop.live.embedder.key
        if self._per_image[0] != key:
            if self._labeling():
                return False
            network: Any = self._loop.live.embedder.backbone
            self._per_image = key, seconds_per_image(network)
        return self._seconds(labels, images) > LONGEST_SECONDS

    def _seconds(self, labels: int, images: int) -> float:
        looks = getattr(self._loop.live.embedder.backbone, "looks", 1)  # a challenger sees images as often
        return seconds_of_round(labels, self._folds, looks * images, self._per_image[1])

    def _gone(self) -> str | None:
        """Why a round must free the machine, or None."""
        if self._loop.control.desired.wish == "stop":
            return "the trainer is stopped"
        if self._others.busy:
            return "a requested job goes first"
        if self._settings.challenger == "auto" and self._loop.live.embedder.backbone is None:
            return "waiting until the backbone is chosen"
        return None

    def _resting(self) -> str | None:
        if self._loop.control.desired.wish == "pause":
            return "the trainer is paused"
        if self._labeling():
            return self._gone() or f"it continues when nobody has labeled for {duration(QUIET_SECONDS)}"
        return self._gone()

    # ------------------------------------------------------------ what

    def _begin(self, number: int, space: Space, snapshot: Snapshot, *, in_pauses: bool, features: str) -> None:
        ground, judges = self._judges(space, snapshot)
        if ground is None:
            return
        images = [{**row, **judges.get(int(row["image_id"]), {})} for row in image_rows(self._replica)]
        labels = len(train_targets(space, snapshot)[0])
        task, written = network_task(snapshot.task), shared_tasks.task_named(snapshot.task)
        judged = [row for row in images if "head" in row]
        truth, head = task.targets([row["class_id"] for row in judged]), [row["head"] for row in judged]
        if task.contest(truth, head, task.true(truth)).p >= SURE:
            self._spared = (
                labels,
                f"the head is wrong on {task.errs(truth, head).sum()} of {len(truth)} images, too few for any network "
                "to be significantly better",
            )
            return
        with self._replica.lock:
            classes = classes_of(self._replica.fold)
        begun = {"round": number, "labels": labels, "ground": ground, "judges": len(truth)}
        said = {
            "task": task.name,
            "challenge": {**begun, "in_pauses": in_pauses, "features": features},
            "classes": classes,
            "log_id": str(snapshot.log_id),
            "acked_seq": snapshot.acked_seq,
        }
        # Test images are only embedded again.
        blind = ({**row, "class_id": None} if row["split"] == "test" else row for row in images)
        self._jobs.submit("challenge", said, (as_row(written, row) for row in blind))

    def _judges(self, space: Space, snapshot: Snapshot) -> tuple[str | None, dict[int, dict[str, Any]]]:
        """The images to compare on, and for each the head's prediction and its fold."""
        rows, given = train_targets(space, snapshot)
        task, seed = network_task(snapshot.task), self._settings.seed
        asked = _validation(space, snapshot.labels, snapshot.splits)
        if len(asked) >= ENOUGH_VALIDATION and (model := fit(space, snapshot, None, seed=seed)) is not None:
            held = space.held.rows[[space.held.row_of[image] for image in asked]]
            says = task.says(model.head, held)
            return "validation", {image: {"head": each} for image, each in zip(asked, says, strict=True)}
        ids = space.train.ids[rows]
        judged = ~np.isin(ids, list(self._learned()))
        if judged.sum() < LEAST:
            self._why = f"the next challenger needs {LEAST} labels new to the last one; there are {judged.sum()}"
            return None, {}
        vectors = space.train.rows[rows]
        fold = folds_of(vectors, task.kinds(given), judged, folds=FOLDS, seed=seed)
        says = task.says_out_of_fold(vectors, given, fold, seed=seed)
        return "out of fold", {
            int(image): {"fold": int(k), "head": each} for image, k, each in zip(ids, fold, says, strict=True) if k >= 0
        }

    def _aim_of(self, space: Space, labels: int) -> str:
        """The purpose of a round at this number of labels, in one sentence."""
        with self._replica.lock:
            judges = len(_validation(space, self._replica.fold.labels, self._replica.fold.splits))
        self._folds = 0 if judges >= ENOUGH_VALIDATION else FOLDS
        return _aim(labels, "out of fold") if self._folds else _aim(judges, "validation")

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

    def _latest(self) -> Job | None:
        return next(iter(self._jobs.list()), None)

    def _last(self) -> ChallengerRound | None:
        latest = next((job for job in self._jobs.list() if job.state == "done"), None)
        return ChallengerRound.model_validate(latest.result) if latest is not None else None


def _name(job: Job) -> str:
    """The name of the version that the round's challenger becomes."""
    return f"challenger-{job.id}"


def _was_behind(job: Job) -> bool:
    """Whether the round ended with a challenger that was not ahead of the head."""
    return job.state == "done" and ChallengerRound.model_validate(job.result).gain.value <= 0


def _validation(space: Space, labels: Mapping[int, Any], moved: Mapping[int, Split]) -> list[int]:
    """The labeled validation images."""
    held = space.held.ids[held_out(space, "validation", moved)]
    return [image for image in held.tolist() if image in labels]


def _aim(images: int, ground: str) -> str:
    """The purpose of a round, in one sentence."""
    judges = many(images, "validation image" if ground == "validation" else "labeled train image")
    on = f"on {judges}" if images else "on the images that judge it"
    return f"It replaces the live model only if it is significantly better {on} (p < {SURE})"
