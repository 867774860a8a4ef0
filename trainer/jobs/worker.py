"""The process of one job: `python -m trainer.jobs.worker FOLDER`.

It reads the request from the job's folder, writes progress and result there, and ends by itself when the trainer is
gone. An invalid request gives one sentence in error.json; any other error is a traceback in log.txt. Files are replaced
atomically, so the process may be killed at any moment.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from shared.images.opening import ImageProblem
from shared.processes import end_with_parent, lower_priority, when_orphaned, yield_to_all
from shared.settings.services import SettingsError, TrainerSettings
from shared.storage.disk_errors import kind_of
from shared.storage.whole_files import write_whole
from shared.web.auth import client_headers, token_for
from shared.wire.jobs import Job
from trainer.jobs.challenge_cost import in_pauses
from trainer.jobs.job_queue import NO_ROOM, REFUSED, TRAINER
from trainer.sync.image_source import Photos
from trainer.sync.labeler_client import LabelerClient
from trainer.tasks.registry import task_named
from trainer.versions.registry import RefusedVersion, Registry, UnknownVersion
from trainer.versions.saved_learners import FINE_TUNER, SIGMOID_FINE_TUNER, WHOLE_DETECTOR
from trainer.work.job_context import LabeledImage, Work
from trainer.work.worker_start import LOADING


def main(argv: Sequence[str]) -> int:
    """Run the job in the folder that `argv` names; returns the exit code."""
    lower_priority()
    _end_with_trainer()
    try:
        return _do(Path(argv[0]))
    except Exception as error:  # a full disk is not a failure of the job: it continues once there is room
        if kind_of(error) is None:
            raise
        print(error, file=sys.stderr)
        return NO_ROOM


def _do(folder: Path) -> int:
    job = Job.model_validate_json((folder / "job.json").read_bytes())
    if in_pauses(job):
        yield_to_all()
    settings = TrainerSettings.model_validate_json((folder / "settings.json").read_bytes())
    trainer = Path(settings.workspace).absolute() / "trainer"
    client = LabelerClient(
        settings.labeler_url,
        timeout_seconds=settings.labeler_timeout_seconds,
        headers=client_headers(token_for(settings.host, os.environ)),
    )
    with (folder / "images.jsonl").open(encoding="utf-8") as lines:
        images = [LabeledImage(**json.loads(line)) for line in lines]
    work = Work(
        folder, job, settings, images, Photos(settings, client), Registry(trainer / "models"), trainer / "backbones"
    )
    work.tell(0, 1, LOADING)
    try:
        result = _handler(job)(work)
    except (SettingsError, RefusedVersion, UnknownVersion, ImageProblem, FileExistsError, ValueError) as error:
        write_whole(folder / "error.json", json.dumps({"error": str(error)}).encode())
        return REFUSED
    finally:
        client.close()
    write_whole(folder / "result.json", json.dumps(result).encode())
    return 0


def _handler(job: Job) -> Callable[[Work], dict[str, Any]]:
    from trainer.threads import leave_a_core  # imported late: an invalid request is refused without loading torch

    leave_a_core()
    if job.kind == "compare" and job.request.get("boxes"):
        from trainer.jobs import compare_boxes

        return compare_boxes.run
    if job.kind == "compare" and job.request.get("several"):
        from trainer.jobs import compare_several

        return compare_several.run
    if job.kind == "compare":
        from trainer.jobs import compare

        return compare.run
    if job.kind == "challenge":
        from trainer.jobs import challenge

        return challenge.run
    if _network_of(job) == WHOLE_DETECTOR:
        from trainer.jobs import train_boxes

        return train_boxes.run
    if _network_of(job) in (FINE_TUNER, SIGMOID_FINE_TUNER):
        from trainer.jobs import train

        return train.run
    raise ValueError(f"This trainer cannot train the network of the job {job.id}.")


def _network_of(job: Job) -> str | None:
    """The learner of the whole network that the job trains."""
    return task_named(job.request.get("task", "classification")).network  # absent in a job of an older version


def _end_with_trainer() -> None:
    """An orphan would keep using the machine, next to the process that replaces it."""
    end_with_parent()
    trainer = int(os.environ.pop(TRAINER, "") or os.getppid())  # the trainer may have ended before this process starts
    when_orphaned(trainer, lambda: os._exit(1))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
