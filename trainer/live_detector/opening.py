"""Opens the detector of a trainer. Its files are in the trainer's folder; its frozen network is installed with
Flywheel.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from shared.settings.services import TrainerSettings
from trainer.live_detector.live_detector import LiveDetector
from trainer.live_detector.pictures import Pictures
from trainer.sync.image_source import Photos
from trainer.sync.replica import Replica

if TYPE_CHECKING:  # torch takes seconds to import
    from trainer.detection.feature_maps import FeatureMaps

MAPS = "feature_maps"
STATE = Path("detector") / "live.safetensors"


def open_live_detector(folder: Path, settings: TrainerSettings, replica: Replica, photos: Photos) -> LiveDetector:
    """Open the detector in `folder`. Its network is loaded only when a detection project needs it."""

    def open_maps(read: Callable[[str], bytes], size: int) -> FeatureMaps:
        from trainer.detection.feature_maps import FeatureMaps
        from trainer.detection.pyramid import installed_pyramid
        from trainer.embeddings.backbones.torch_networks import device_named

        pyramid = installed_pyramid(folder / MAPS, size=size, device=device_named(settings.device))
        return FeatureMaps(folder / MAPS, pyramid, photos.limits, read)

    return LiveDetector(folder / STATE, Pictures(replica, photos.fetch, open_maps, photos.limits), settings.seed)
