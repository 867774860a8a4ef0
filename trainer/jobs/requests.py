"""Requests for long work on versions: creates their jobs, and processes the results."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from importlib.util import find_spec
from typing import Any, get_args
from uuid import uuid4

from shared.class_names import meant
from shared.figures import BOX_METRICS, COSTS
from shared.log import Fold
from shared.settings.network_names import check_network
from shared.settings.services import TrainerSettings
from shared.storage.whole_files import write_whole
from shared.tasks.task import Task as SharedTask
from shared.wire.fields import Split
from shared.wire.jobs import ENDED, Comparison, ComparisonRequest, Job, Metric
from shared.wire.models import ImageFilter, TrainRequest, Weights
from trainer.evaluation.model_comparison import compare_recorded
from trainer.jobs.job_queue import Jobs
from trainer.sync.replica import Replica
from trainer.sync.snapshot import Snapshot
from trainer.tasks.registry import task_named
from trainer.versions.library import Versions
from trainer.versions.registry import NOW, StillNeeded, UnknownVersion
from trainer.whole_detector.names import TORCHVISION

SEVERAL_METRICS: frozenset[Metric] = frozenset({"accuracy", "macro_f1", "micro_f1", "auc_pr", "log_loss"})
PROXY = "proxy-"  # beginning of the names of current models that were saved for a comparison
PENDING = ".pending"
"""Ending of the file that exists while a current model is saved and has no job yet."""
TRAIN_SAMPLE = 300
"""Train images on which two versions are compared for differences."""


class ModelJobs:
    """Submits long work on `versions` of the project in `replica` to `jobs`. `save` saves the current model as a
    version."""

    def __init__(
        self,
        jobs: Jobs,
        versions: Versions,
        replica: Replica,
        settings: TrainerSettings,
        save: Callable[[str], object],
    ) -> None:
        self._save = save
        self._jobs = jobs
        self._versions = versions
        self._replica = replica
        self._settings = settings

    def compare(self, request: ComparisonRequest) -> Job:
        """Compare two versions, as a job. Done at once if only their recorded metrics are compared.

        The base `now` is the current model, which is saved for the comparison. Saving belongs to this request, so that
        whoever asks may be killed at any moment and leaves no version that nothing was compared with.

        Raises UnknownVersion, RefusedVersion for a version that cannot predict for this project, ValueError without
        labeled images, and NotReady for `now` without a model.
        """
        if request.base != NOW:
            return self._compare(request)
        self._versions.checked(request.candidate)
        proxy = f"{PROXY}{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid4().hex[:4]}"
        pending = self._jobs.folder / f"{proxy}{PENDING}"
        write_whole(pending, b"")
        try:
            self._save(proxy)
            return self._compare(request.model_copy(update={"base": proxy}), saved=True)
        except BaseException:
            self._drop(proxy)
            raise
        finally:
            pending.unlink(missing_ok=True)

    def tidy(self) -> None:
        """Delete saved current models that a kill left without their comparison. Call this before jobs run."""
        jobs = self._jobs.list()
        for pending in self._jobs.folder.glob(f"{PROXY}*{PENDING}"):
            name = pending.name.removesuffix(PENDING)
            if name not in map(_proxy_of, jobs):
                self._drop(name)
            pending.unlink(missing_ok=True)
        for job in jobs:
            self._drop_cancelled(job)

    def cancel(self, job_id: str) -> Job:
        """Cancel a job. A current model that was saved for it alone is deleted. Raises UnknownJob."""
        job = self._jobs.cancel(job_id)
        self._drop_cancelled(job)
        return job

    def resume(self, job_id: str) -> Job:
        """Continue a job that failed or was cancelled; the current model is saved again if it is compared.

        Raises UnknownJob, ValueError for a job that is done, and NotReady without a model.
        """
        job = self._jobs.get(job_id)
        proxy = _proxy_of(job)
        if proxy is not None and job.state == "cancelled":
            with suppress(FileExistsError):
                self._save(proxy)
        return self._jobs.resume(job_id)

    def _drop_cancelled(self, job: Job) -> None:
        proxy = _proxy_of(job)
        if proxy is not None and job.state == "cancelled":
            self._drop(proxy)

    def _drop(self, proxy: str) -> None:
        with suppress(UnknownVersion, StillNeeded):
            self._versions.delete(proxy)

    def _compare(self, request: ComparisonRequest, *, saved: bool = False) -> Job:
        """`saved`: the base was saved for this comparison alone."""
        base, candidate = (self._versions.checked(name) for name in (request.base, request.candidate))
        task = task_named(self._replica.fold.task.name)
        request = self._of_boxes(request) if task.learns_from_images else request
        request = _of_several(request) if task.several else request
        said: dict[str, Any] = {"comparison": request.model_dump(mode="json"), "saved": saved}
        if request.recorded:
            found = compare_recorded(self._versions.show(base.name), self._versions.show(candidate.name), request)
            return self._jobs.remember("compare", said, found.model_dump(mode="json"))
        with self._replica.lock:
            said["classes"] = classes_of(self._replica.fold)
            said["active"] = request.split == "test" and bool(self._replica.test_chances)
            images = image_rows(self._replica)
        if task.learns_from_images:
            return self._compare_boxes(request, said, images)
        measured = [row for row in images if row["split"] == request.split and row["class_id"] is not None]
        if not measured:
            raise ValueError(
                f"No {request.split} image is labeled yet, so there is nothing to compare the versions on."
            )
        train = sorted((row for row in images if row["split"] == "train"), key=lambda row: str(row["sha256"]))
        sample = random.Random(self._settings.seed).sample(train, min(TRAIN_SAMPLE, len(train)))
        if task.several:
            said["several"] = True
            return self._jobs.submit("compare", said, map(_with_answer, measured + sample))
        return self._jobs.submit("compare", said, measured + sample)

    def _of_boxes(self, request: ComparisonRequest) -> ComparisonRequest:
        """The request with the metrics of detectors filled in. Raises ValueError for metrics that they do not have."""
        wanted = {"map_50": 0.0} if request.min_delta == {"accuracy": 0.0} else request.min_delta
        wrong = sorted(set(wanted) - BOX_METRICS.keys() - COSTS - {"auc_pr"})
        if wrong:
            known = ", ".join([*BOX_METRICS, "auc_pr", *sorted(COSTS)])
            raise ValueError(f"Detectors are not measured by {wrong[0]!r}; choose from {known}.")
        iou = request.iou_threshold or self._settings.iou_threshold
        return request.model_copy(update={"min_delta": wanted, "iou_threshold": iou})

    def _compare_boxes(self, request: ComparisonRequest, said: dict[str, Any], images: list[dict[str, Any]]) -> Job:
        """As `compare`, of detectors."""
        measured = [row for row in images if row["split"] == request.split and row["class_id"] is not None]
        if not measured:
            raise ValueError(
                f"No {request.split} image is labeled yet, so there is nothing to compare the versions on."
            )
        said["boxes"] = True
        return self._jobs.submit("compare", said, map(_with_boxes, measured))

    def train(self, name: str, request: TrainRequest) -> Job:
        """Train a network on all current labels and save it as version `name`, as a job.

        Raises FileExistsError and ValueError for the name or the network, UnknownVersion and RefusedVersion.
        """
        task = task_named(self._replica.fold.task.name)
        if not task.learns_from_images and find_spec("fastai") is None:
            raise ValueError("Training a network needs fastai: pip install 'flywheel-labeling[fine-tune]'.")
        if task.network is None:
            raise ValueError(task.no_network or f"No network can be trained for the task {task.name!r}.")
        self._versions.registry.check_name(name)
        self.check_network(request.architecture or "", request.weights)
        request = self._with_filters(request)
        with self._replica.lock:
            if self._replica.log_id is None:
                raise ValueError("There are no labels yet.")
            images = [row for row in image_rows(self._replica) if row["class_id"] is not None]
            images = chosen(images, request, self._replica.fold)
            said = {
                "task": task.name,
                "name": name,
                "train": request.model_dump(mode="json"),
                "classes": classes_of(self._replica.fold),
                "log_id": str(self._replica.log_id),
                "acked_seq": self._replica.acked_seq,
                "active": bool(self._replica.test_chances),
            }
        if not task.enough(task.targets([row["class_id"] for row in images if row["split"] == "train"])):
            chose = " selected by 'train'" if request.train else ""
            raise ValueError(f"Training needs {task.to_train}{chose}.")
        return self._jobs.submit("train", said, map(partial(as_row, self._replica.fold.task), images))

    def check_network(self, name: str, weights: Weights = "auto") -> None:
        """Raise ValueError for a network that cannot be trained; an empty name means the network in the settings.

        Your own network is code, and only the settings decide which code runs.
        """
        if task_named(self._replica.fold.task.name).learns_from_images:
            if ":" in name:
                raise ValueError("Your own network cannot be trained to find boxes: choose one of timm.")
            if name in TORCHVISION:
                return
        if ":" not in name:
            if name:
                check_network(name)
            return
        if name != self._settings.model_fn:
            raise ValueError(
                f"Your own network can only be named in the setting 'model_fn', not by a request for {name!r}."
            )
        if weights in ("pretrained", "file"):
            raise ValueError(f"'weights' cannot be {weights!r} for {name!r}, which loads its own weights.")

    def _with_filters(self, request: TrainRequest) -> TrainRequest:
        """`request` with the filters of the cloned version where it has none."""
        if request.base is None:
            return request
        config = self._versions.checked(request.base).description.config
        kept = {part: config[part] for part in get_args(Split) if getattr(request, part) is None and config.get(part)}
        return TrainRequest.model_validate({**request.model_dump(), **kept})

    def conclude(self, job: Job) -> None:
        """Act on a finished job; a second call changes nothing. Raises the error that makes the job fail."""
        if job.kind == "compare":
            request = ComparisonRequest.model_validate(job.request["comparison"])
            found = Comparison.model_validate(job.result)
            if request.promote and found.decision == "update_model":
                self._versions.promote(request.candidate)


def _of_several(request: ComparisonRequest) -> ComparisonRequest:
    """The request with the metrics of multi-label versions filled in. Raises ValueError for metrics that they do not
    have."""
    wanted = {"macro_f1": 0.0} if request.min_delta == {"accuracy": 0.0} else request.min_delta
    wrong = sorted(set(wanted) - SEVERAL_METRICS - COSTS)
    if wrong:
        known = ", ".join(sorted(SEVERAL_METRICS | COSTS))
        raise ValueError(f"Multi-label versions are not measured by {wrong[0]!r}; choose from {known}.")
    return request.model_copy(update={"min_delta": wanted})


def _proxy_of(job: Job) -> str | None:
    """The current model that was saved for this comparison alone."""
    return str(job.request["comparison"]["base"]) if job.kind == "compare" and job.request.get("saved") else None


def as_row(task: SharedTask, row: dict[str, Any]) -> dict[str, Any]:
    """A row of an image, as JSON: a class is its `class_id`, and any other value its `answer`."""
    if row["class_id"] is None:
        return row
    said = task.to_row(row["class_id"])
    return {**row, "class_id": said.get("label"), "answer": said.get("answer")}


def _with_answer(row: dict[str, Any]) -> dict[str, Any]:
    """A row of an image with several classes, as JSON."""
    value = row["class_id"]
    answer = None if value is None else {"yes": sorted(value.yes), "no": sorted(value.no)}
    return {**row, "class_id": None, "answer": answer}


def _with_boxes(row: dict[str, Any]) -> dict[str, Any]:
    """A row of an image with boxes, as JSON.

    The request does not contain the boxes, because everybody can read it, and whoever labels a test image must not see
    them.
    """
    return {**row, "class_id": None, "answer": {"boxes": [box[:5] for box in row["class_id"].boxes]}}


def versions_in_use(jobs: Jobs) -> dict[str, str]:
    """Version → the job that needs it."""
    needed = {}
    for job in jobs.list():
        if job.state not in ENDED:
            asked = job.request["comparison"] if job.kind == "compare" else job.request["train"]
            for name in filter(None, (asked["base"], asked.get("candidate"))):
                needed[str(name)] = f"Job {job.id} uses version {name!r}."
    return needed


def chosen(images: list[dict[str, Any]], request: TrainRequest, fold: Fold) -> list[dict[str, Any]]:
    """The labeled `images` that pass the filters of their splits. Raises ValueError for an unknown class."""
    filters: dict[str, ImageFilter] = {part: getattr(request, part) or ImageFilter() for part in get_args(Split)}
    classes: dict[str, int | None] = {}
    for each in filters.values():
        if each.label is not None:
            classes[each.label] = fold.named(each.label)
            if classes[each.label] is None:
                like = meant(each.label, [known.name for known in fold.live_classes()])
                raise ValueError(f"There is no class {each.label!r}{like or '.'}")

    def taken(row: dict[str, Any]) -> bool:
        wanted = filters[row["split"]]
        has = fold.task.classes_in(row["class_id"])
        return (wanted.label is None or classes[wanted.label] in has) and (
            wanted.annotator is None or wanted.annotator in fold.state(row["image_id"]).answered
        )

    return [row for row in images if taken(row)]


def image_rows(replica: Replica) -> list[dict[str, Any]]:
    """Every image with its current split and class; the class is None without a label."""
    with replica.lock:
        snapshot = Snapshot.of(replica)
        labels = snapshot.labels if snapshot is not None else {}
        return [
            {
                "image_id": entry.id,
                "uri": entry.uri,
                "sha256": entry.sha256,
                "split": entry.split,
                "class_id": labels.get(entry.id),
            }
            for entry in replica.images()
        ]


def classes_of(fold: Fold) -> dict[str, Any]:
    """The classes for a job: every class id → its live class, and the live names."""
    return {
        "standing": {str(each): fold.resolve(each) for each in fold.classes},
        "names": {str(each.id): each.name for each in fold.live_classes()},
    }
