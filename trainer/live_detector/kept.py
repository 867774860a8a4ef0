"""Saves the live detector to one file, written atomically, so that a restarted trainer continues with it."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save

from shared.storage.whole_files import write_whole

if TYPE_CHECKING:  # torch takes seconds to import
    from trainer.detection.detector import Detector
    from trainer.detection.suggestion_threshold import Judged

log = logging.getLogger(__name__)

HEADER = "flywheel"


class Header(BaseModel):
    """The fields that the file stores next to its arrays."""

    model_config = ConfigDict(extra="ignore")

    log_id: UUID
    version: str
    acked_seq: int
    seen: list[int]
    steps_left: int
    channels: list[int]
    size: int
    pyramid: str
    seconds: float = 0.0


@dataclass
class State:
    """The state of a live detector. `seen` are all images that it ever learned from. `judged` are the latest answers,
    each with the boxes that had been found before it.
    """

    log_id: UUID
    detector: Detector | None = None
    version: str = ""
    acked_seq: int = 0
    seen: set[int] = field(default_factory=set)
    steps_left: int = 0
    judged: list[Judged] = field(default_factory=list)
    seconds: float = 0.0  # of the last round

    @property
    def steps(self) -> int:
        """Steps that the detector has learned, or its head ahead of it. From any thread."""
        detector = self.detector
        return detector.steps if detector is not None else 0

    def save(self, path: Path) -> None:
        """Write the file, unless there is no detector yet. Raises OSError."""
        if self.detector is None:
            return
        header = Header(
            log_id=self.log_id,
            version=self.version,
            acked_seq=self.acked_seq,
            seen=sorted(self.seen),
            steps_left=self.steps_left,
            channels=list(self.detector.channels),
            size=self.detector.size,
            pyramid=self.detector.pyramid,
            seconds=self.seconds,
        )
        tensors = dict(self.detector.to_tensors())
        for number, each in enumerate(self.judged):
            found = each.found
            tensors[f"judged.{number}.drawn"] = np.column_stack([each.labels, each.boxes]).astype(np.float64)
            tensors[f"judged.{number}.found"] = np.column_stack([found.classes, found.boxes, found.scores]).astype(
                np.float64
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, save(tensors, metadata={HEADER: header.model_dump_json()}))

    @classmethod
    def load(cls, path: Path) -> Self | None:
        """Read the state. None if the file is missing or unreadable."""
        from trainer.detection.detector import Detector

        if not path.is_file():
            return None
        try:
            with safe_open(path, framework="numpy") as file:
                header = Header.model_validate_json((file.metadata() or {}).get(HEADER, ""))
            tensors = load_file(path)
            detector = Detector.of_tensors(tensors, channels=header.channels, size=header.size, pyramid=header.pyramid)
            judged: list[Judged] = []
            while (drawn := f"judged.{len(judged)}.drawn") in tensors:
                judged.append(_judged(tensors[drawn], tensors[f"judged.{len(judged)}.found"]))
        except (OSError, SafetensorError, ValidationError, ValueError, KeyError, IndexError) as error:
            log.warning("Cannot read the saved detector, so it is trained again: %s", error)
            return None
        return cls(
            header.log_id,
            detector,
            header.version,
            header.acked_seq,
            set(header.seen),
            header.steps_left,
            judged,
            header.seconds,
        )


def _judged(drawn: NDArray[np.generic], found: NDArray[np.generic]) -> Judged:
    from trainer.detection.detections import Detections
    from trainer.detection.suggestion_threshold import Judged

    one, other = np.asarray(drawn, np.float64).reshape(-1, 5), np.asarray(found, np.float64).reshape(-1, 6)
    boxes, places = one[:, 1:].astype(np.float32), other[:, 1:5].astype(np.float32)
    seen = Detections(places, other[:, 0].astype(np.int64), other[:, 5].astype(np.float32))
    return Judged(seen, boxes, one[:, 0].astype(np.int64))
