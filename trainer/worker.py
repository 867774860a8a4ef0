"""The process of one job: `python -m trainer.worker FOLDER`.

It reads what was asked from the job's folder, writes how far it is and what came of it there, and ends by itself when
the trainer is gone. What is wrong with a request is a sentence in error.json; anything else is a traceback in log.txt.
Files are replaced whole, so that it may be killed at any instant.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from shared.auth import client_headers, token_for
from shared.disk import kind_of
from shared.files import write_whole
from shared.images import ImageProblem
from shared.jobs import Job
from shared.settings import SettingsError, TrainerSettings
from trainer.jobs import NO_ROOM, REFUSED, TRAINER
from trainer.labeler_client import LabelerClient
from trainer.photos import Photos
from trainer.registry import RefusedVersion, Registry, UnknownVersion
from trainer.work import LabeledImage, Work

LOWEST = 19  # priority


def main(argv: Sequence[str]) -> int:
    """Do the job in the folder that `argv` names; returns the exit code."""
    _end_with_trainer()
    os.nice(LOWEST)
    try:
        return _do(Path(argv[0]))
    except Exception as error:  # a disk that refuses is no failure of the job: it goes on once there is room
        if kind_of(error) is None:
            raise
        print(error, file=sys.stderr)
        return NO_ROOM


def _do(folder: Path) -> int:
    job = Job.model_validate_json((folder / "job.json").read_bytes())
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
    from trainer.embeddings.networks import limit_threads  # here: a request that cannot be read is refused at once

    limit_threads()
    if job.kind == "compare":
        from trainer import comparing

        return comparing.run
    if job.kind == "challenge":
        from trainer import challenging

        return challenging.run
    from trainer import training

    return training.run


def _end_with_trainer() -> None:
    """An orphan would go on using the machine, beside the process that takes its place."""
    trainer = int(os.environ.pop(TRAINER, "") or os.getppid())  # it may be gone before this process looks

    def watch() -> None:
        while os.getppid() == trainer:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, name="trainer", daemon=True).start()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
