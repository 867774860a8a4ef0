"""Chooses the backbone for `auto`, once per project, and remembers it.

The choice may load torch or download a network, which takes seconds to minutes. So it runs on its own thread and
reports its progress. It first checks the size of some images, because tiny images such as digits need no network. The
result is stored in `auto.json`, so that later starts and jobs use the same backbone.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from threading import Thread

from shared.backbone import ResolvedBackbone
from shared.images.opening import ImageLimits, ImageProblem, dimensions
from shared.settings.project_file import is_demo
from shared.settings.services import TrainerSettings
from shared.storage.whole_files import write_whole
from shared.wire.images import ImageEntry
from trainer.embeddings.backbones.backbone import SMALL, Backbone, load_auto
from trainer.embeddings.backbones.hub import Download
from trainer.embeddings.decoding.preparing import Fetch

log = logging.getLogger(__name__)

LOOKED_AT = 20
"""Train images whose size is checked. The catalogue is ordered by content hash, so they are a random sample."""
FILE = "auto.json"


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen backbone; `backbone` is None while `pixels` must still be fitted."""

    resolved: ResolvedBackbone
    backbone: Backbone | None
    small_images: bool


class Chooser:
    """Makes the choice on its own thread. Call `step` until it returns the choice."""

    def __init__(
        self,
        settings: TrainerSettings,
        folder: Path,
        fetch: Fetch,
        problems: dict[int, str],
        remembered: ResolvedBackbone | None,
    ) -> None:
        """`problems` collects unreadable images by id; the choice is written to `folder`."""
        self.download: Download | None = None  # in progress
        self._settings = settings
        self._folder = folder
        self._fetch = fetch
        self._problems = problems
        self._remembered = remembered
        self._limits = ImageLimits(settings.max_image_bytes, settings.max_image_pixels)
        self._thread: Thread | None = None
        self._found: Choice | Exception | None = None

    def step(self, pending: Sequence[ImageEntry], *, more_coming: bool) -> Choice | None:
        """Return the choice, or None while it is being made: then call again.

        Raises the error that made the choice fail; the next call starts over.
        """
        if self._thread is None:
            small = self._are_small(pending, more_coming)
            if small is None:
                return None
            self._thread = Thread(target=self._choose, args=(small,), name="backbone", daemon=True)
            self._thread.start()
            if small:
                self._thread.join()  # takes no time for small images
        if self._thread.is_alive():
            return None
        found, self._thread, self._found = self._found, None, None
        if isinstance(found, Exception):
            raise found
        return found

    def _are_small(self, pending: Sequence[ImageEntry], more_coming: bool) -> bool | None:
        """Whether the first train images are at most SMALL pixels per side; None until enough are known.

        The demo counts as small: its images are 8 pixels per side, enlarged so that a person can see them.
        """
        if is_demo(self._settings.workspace):
            return True
        train = (each for each in pending if each.split == "train" and each.id not in self._problems)
        first = list(islice(train, LOOKED_AT))
        if not first or (len(first) < LOOKED_AT and more_coming):
            return None
        sizes = []
        for entry in first:
            try:
                sizes.append(max(dimensions(self._fetch(entry), self._limits)))
            except ImageProblem as problem:
                self._problems[entry.id] = str(problem)
            except Exception as error:  # the fetcher may raise anything
                log.warning("Could not fetch image %d (%s).", entry.id, entry.uri, exc_info=True)
                self._problems[entry.id] = f"could not be fetched ({type(error).__name__})"
        return max(sizes) <= SMALL if sizes else None

    def _choose(self, small_images: bool) -> None:
        def tell(download: Download) -> None:
            self.download = download

        try:
            resolved, backbone = load_auto(
                self._settings,
                self._folder,
                remembered=self._remembered,
                small_images=small_images,
                on_download=tell,
            )
            choice = Choice(resolved, backbone, small_images)
            log.info("Backbone: %s.", resolved.sentence)
            remember(self._folder, choice)
            self._found = choice
        except Exception as error:  # `step` raises it on the caller's thread
            self._found = error
        finally:
            self.download = None


def recall(folder: Path) -> tuple[ResolvedBackbone, bool] | None:
    """The choice of an earlier start, and whether its images were small; None if a new choice is needed."""
    try:
        said = json.loads((folder / FILE).read_bytes())
        return ResolvedBackbone.read(said["resolved"]), bool(said["small_images"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remember(folder: Path, choice: Choice) -> None:
    """Store the choice, unless it is `pixels` for lack of a network: the next start may find one."""
    if choice.resolved.weights != "none" or choice.small_images:
        said = {"resolved": choice.resolved.as_dict(), "small_images": choice.small_images}
        write_whole(folder / FILE, json.dumps(said, indent=1).encode())
    else:
        (folder / FILE).unlink(missing_ok=True)
