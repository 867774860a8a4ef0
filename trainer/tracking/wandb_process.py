"""The process that talks to wandb: `python -m trainer.tracking.wandb_process FOLDER GROUP`, one message per line on
stdin.

The first message is the trainer's settings, followed by evaluations and versions as they come; the end of stdin ends
the run. It reports once on stdout where the run is, or why there is none. The x axis of metrics is the number of
labels, and epochs for the training of a version. wandb's own folders are in the workspace, and it collects no system
data.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from shared.figures import BOX_METRICS, is_measured
from shared.images.opening import ImageProblem, open_rgb
from shared.processes import lower_priority
from shared.settings.services import TrainerSettings
from shared.settings.traits import RECORDED, settings_with
from shared.web.auth import client_headers, token_for
from shared.wire.evaluation import Evaluation
from shared.wire.images import ImageEntry
from shared.wire.models import ModelVersion
from trainer.sync.image_source import Photos
from trainer.sync.labeler_client import LabelerClient

FINISH_SECONDS = 30.0  # time for wandb to upload the last rows after the trainer has ended
MEDIA_SECONDS = 30.0  # minimum time between two uploads of confusion matrix and images, which are files
MOST_CLASSES = 50
"""With more classes, a curve per class and a confusion matrix are unreadable."""
PIXELS = 160
"""Longer side of an uploaded image."""


class WandbRun:
    """One wandb run of a project. Raises the errors of wandb."""

    def __init__(self, settings: TrainerSettings, folder: Path, group: str, photos: Photos) -> None:
        import wandb

        self._wandb = wandb
        self._photos = photos
        self._online = settings.tracking == "online"
        self._media_at = -MEDIA_SECONDS
        named, recorded = settings.model_dump(mode="json"), settings_with(RECORDED, TrainerSettings)
        self.run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "flywheel"),
            group=group,
            dir=str(folder.parent),  # wandb creates its folder `wandb` there
            mode=settings.tracking if settings.tracking != "off" else "disabled",
            config={key: named[key] for key in (*recorded, "exploration", "query_length", "batch_size")},
            settings=wandb.Settings(
                console="off", silent=True, disable_git=True, save_code=False, x_disable_stats=True, x_disable_meta=True
            ),
        )
        self.run.define_metric("labels")
        self.run.define_metric("*", step_metric="labels")

    @property
    def place(self) -> str:
        """The address of the run, or its folder when offline."""
        return str(self.run.url if self._online else Path(self.run.dir).parent)

    def take(self, message: dict[str, Any]) -> None:
        """Send an evaluation or a version."""
        if "version" in message:
            self._version(Path(message["version"]))
        else:
            self._evaluation(Evaluation.model_validate(message["evaluation"]), message)

    def _evaluation(self, said: Evaluation, message: dict[str, Any]) -> None:
        row: dict[str, Any] = {
            "labels": said.spent,
            "train_labels": said.labels,
            "test_labels": said.test_labels,
            **{f"milliseconds/{step}": taken for step, taken in said.timings.items()},
        }
        enough = is_measured(said.accuracy)
        if enough:
            row |= {
                "accuracy": said.accuracy.value,
                "accuracy_low": said.accuracy.low,
                "accuracy_high": said.accuracy.high,
                "macro_f1": said.macro_f1,
                "log_loss": said.log_loss,
                "calibration_error": said.calibration_error,
            }
        several = {name: getattr(said, name) for name in ("micro_f1", "mean_average_precision")}
        for name, each in several.items():
            if each is not None and is_measured(each):
                row |= {name: each.value, f"{name}_low": each.low, f"{name}_high": each.high, "macro_f1": said.macro_f1}
        boxes = {name: getattr(said, name) for name in BOX_METRICS}
        for name, each in boxes.items():
            if each is not None and is_measured(each):
                row |= {name: each.value, f"{name}_low": each.low, f"{name}_high": each.high}
                if len(said.classes) <= MOST_CLASSES:
                    precisions = ((entry.name, entry.average_precision) for entry in said.classes)
                    row |= {f"average_precision/{title}": one.value for title, one in precisions if one is not None}
        few = (enough or "macro_f1" in row) and len(said.classes) <= MOST_CLASSES
        if few:
            row |= {f"f1/{each.name}": each.f1 for each in said.classes}
        # The last evaluation before a stop has no successor that could bring its confusion matrix.
        if message.get("newest") and (said.final or time.monotonic() - self._media_at >= MEDIA_SECONDS):
            self._media_at = time.monotonic()
            row["asked_next"] = self._images(message["images"])
            if few and said.confusion:
                row["confusion"] = self._confusion(said)
        self.run.log({key: value for key, value in row.items() if value is not None})

    def _confusion(self, said: Evaluation) -> Any:
        names = [each.name for each in said.classes]
        rows: list[Iterable[object]] = [
            [truth, predicted, said.confusion[i][j]]
            for i, truth in enumerate(names)
            for j, predicted in enumerate(names)
        ]
        return self._wandb.plot_table(
            "wandb/confusion_matrix/v1",
            self._wandb.Table(columns=["Actual", "Predicted", "nPredictions"], data=rows),
            {name: name for name in ("Actual", "Predicted", "nPredictions")},
            {"title": f"Test images at {said.spent} labels"},
        )

    def _images(self, images: Sequence[dict[str, Any]]) -> list[Any]:
        """Train images as wandb images with their reasons; unreadable ones are left out."""
        shown = []
        for each in images:
            try:
                data = self._photos.fetch(ImageEntry.model_validate(each["entry"]))
                image = open_rgb(data, self._photos.limits, at_least=PIXELS)
            except ImageProblem:
                continue
            image.thumbnail((PIXELS, PIXELS))
            shown.append(self._wandb.Image(image, caption=each["reason"]))
        return shown

    def _version(self, folder: Path) -> None:
        """Send a version as an artifact, with its training curves. Versions never change, so nothing is copied."""
        described = ModelVersion.model_validate_json((folder / "model.json").read_bytes())
        said = described.model_dump(mode="json", exclude={"metrics", "classes"})
        artifact = self._wandb.Artifact("model", type="model", metadata=said)
        artifact.add_dir(str(folder), policy="immutable", skip_cache=True)
        self.run.log_artifact(artifact, aliases=[described.version])
        history = described.config.get("trained", {}).get("history", [])
        for row in history:
            self.run.define_metric(f"{described.version}/*", step_metric=f"{described.version}/epoch")
            self.run.log({f"{described.version}/{key}": value for key, value in row.items()})


def main(argv: Sequence[str]) -> int:
    """Send what stdin brings; returns the exit code."""
    folder, group = Path(argv[0]), argv[1]
    lower_priority()
    for name, value in {
        "WANDB_DATA_DIR": str(folder / "data"),
        "WANDB_CACHE_DIR": str(folder / "cache"),
        "WANDB_ARTIFACT_DIR": str(folder / "artifacts"),
        "WANDB_ERROR_REPORTING": "false",
    }.items():
        os.environ.setdefault(name, value)
    settings = TrainerSettings.model_validate_json(sys.stdin.readline())
    client = LabelerClient(
        settings.labeler_url,
        timeout_seconds=settings.labeler_timeout_seconds,
        headers=client_headers(token_for(settings.host, os.environ)),
    )
    try:
        _check_writable(folder)
        run = WandbRun(settings, folder, group, Photos(settings, client))
        _say({"run": run.place})
        for line in sys.stdin:
            run.take(json.loads(line))
        threading.Timer(FINISH_SECONDS, os._exit, [1]).start()
        run.run.finish()
    except Exception as error:  # any error becomes one sentence in the trainer's status
        _say({"error": f"wandb does not work: {' '.join(str(error).split()) or type(error).__name__}"})
        return 3
    return 0


def _check_writable(folder: Path) -> None:
    """Raise PermissionError instead of letting wandb silently use a temporary folder."""
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"the folder {folder} is not writable.")


def _say(message: dict[str, str]) -> None:
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    os._exit(main(sys.argv[1:]))  # do not wait for the timer or for wandb's exit handlers
