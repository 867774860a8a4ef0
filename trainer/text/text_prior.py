"""Suggestions from the class names, until the model is better.

Before the first label, the words of a class say what an image of it looks like, if a network for images and captions is
there (`text_network`). Words may also say nothing: `defect B` is in no caption. So the guess is checked against the
answers: at 20, and again at 40, 80 and 160, the model is fitted on nine tenths of the first answers and asked about the
others. Once it is right as often as the names are, the names are dropped, until a name or prompt changes.

The images to ask about come from the names only before there is a model.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from shared.settings.services import SettingsError, TrainerSettings
from trainer.embeddings.backbones.backbone import Backbone
from trainer.embeddings.precomputed import OwnVectors
from trainer.embeddings.space import ImagePool
from trainer.sync.snapshot import Snapshot
from trainer.tasks.registry import task_named
from trainer.tasks.targets import moved_out
from trainer.tasks.task import Ids, Targets, Task
from trainer.text.prompts import prompts_for

if TYPE_CHECKING:
    from trainer.text.text_network import TextNetwork

log = logging.getLogger(__name__)

Matrix = NDArray[np.float32]
State = Literal["off", "loading", "used", "dropped", "failed"]

FIRST_CHECK = 20
"""Number of answers at the first check of the names. Each further check waits for twice as many."""
LAST_CHECK = 160
FOLDS = 10
CHUNK = 8_192  # raw vectors read at once


@dataclass(frozen=True)
class Guess:
    """Predictions for the train images from the class names."""

    classes: Ids  # (K,) class ids
    probabilities: Matrix  # (N, K)


class TextPrior:
    """The guess from the names of the classes. `state` and `message` may be read from any thread."""

    def __init__(self, settings: TrainerSettings) -> None:
        """Raises SettingsError for a value of `text_network` that cannot be loaded."""
        self._settings = settings
        self._network: TextNetwork | None = None
        self._key = ""  # of the backbone that the network belongs to
        self._guess: tuple[object, Guess] | None = None
        self._left_out: Ids = np.empty(0, np.int64)  # images that were removed when the guess was made
        self._seen: tuple[Ids, Matrix] | None = None  # images, and their positions in the space of words
        self._words: object = None  # names and prompts of the last guess
        self._checked = 0  # answers at the last check
        self.state: State = "off"
        self.message = ""
        if settings.text_network:
            from trainer.text import text_network

            text_network.check(settings)
            self.state, self.message = "loading", "The text network is loaded when images are embedded."

    def begin(self, backbone: Backbone | OwnVectors | None, wake: Callable[[], None]) -> None:
        """Load the network for this backbone in a thread, once; `wake` is called at the end."""
        if self.state != "loading" or backbone is None or self._key:
            return
        self._key = backbone.key
        self.message = "The text network is being loaded."
        threading.Thread(target=self._load, args=(backbone, wake), name="text network", daemon=True).start()

    def start_over(self) -> None:
        """Forget the checks, because the answers or the words have changed."""
        self._guess, self._checked = None, 0
        if self._network is not None:
            self._use()

    def guess(self, pool: ImagePool, backbone: Backbone | OwnVectors | None, snapshot: Snapshot) -> Guess | None:
        """Predictions from the names for the train images of `pool`; None if there are none."""
        if self._network is None or len(pool.train.ids) == 0 or len(snapshot.names) < 2:
            return None
        if not task_named(snapshot.task).has_named_outcomes:
            return None
        if backbone is None or backbone.key != self._key:
            if self.state != "failed":
                self._end("failed", "Another network makes the embeddings now, which has nothing in common with words.")
            return None
        words = (tuple(snapshot.names.items()), tuple(self._settings.text_prompts))
        if words != self._words or self.state == "failed":  # the first network may be back
            self._words = words
            self.start_over()
        if self.state != "used":
            return None
        asked = (pool.version, len(pool.train.ids), words)
        if self._guess is None or self._guess[0] != asked or pool.has(self._left_out).any():  # some are back
            ids = pool.train.ids
            self._left_out = ids[~pool.has(ids)]
            self._guess = asked, self._guess_of(self._network, pool, dict(snapshot.names))
        return self._guess[1]

    def described(self, pool: ImagePool, key: str, words: str) -> tuple[Ids, Matrix] | None:
        """The train images (n,) that `words` describe best first, and their similarity (n,); None without a network
        for the embeddings `key`.

        From any thread. It reads all vectors once, and again when images have come.
        """
        network, ids = self._network, pool.space().train.ids
        if network is None or key != self._key:
            return None
        if self._seen is None or not np.array_equal(self._seen[0], ids):
            self._seen = ids, self._images(network, pool, ids)
        similarity = self._seen[1] @ network.words([words])[0]
        order = np.argsort(-similarity, kind="stable")
        return self._seen[0][order], similarity[order]

    def check(self, pool: ImagePool, backbone: Backbone | OwnVectors | None, snapshot: Snapshot, seed: int) -> None:
        """Drop the names if a model is right as often, when there are enough answers for a look."""
        guess = self.guess(pool, backbone, snapshot)
        due = FIRST_CHECK if not self._checked else 2 * self._checked
        row_of = pool.train.row_of
        held_out = moved_out(snapshot)
        given = [image for image in snapshot.here if image in row_of and image not in held_out][:LAST_CHECK]
        if guess is None or len(given) < due or due > LAST_CHECK:
            return
        while 2 * due <= len(given):
            due *= 2
        self._checked = due
        rows = np.array([row_of[image] for image in given[:due]], np.int64)
        task = task_named(snapshot.task)
        targets = task.targets([snapshot.labels[image] for image in given[:due]])
        if not task.enough(targets):
            return
        names = int((guess.classes[guess.probabilities[rows].argmax(axis=1)] == targets).sum())
        model = _right(task, pool.train.rows[rows], targets, seed)
        said = f"The class names are right about {names} of the first {due} answers, the model about {model}"
        if model >= names:
            self._end("dropped", f"{said}: suggestions come from the model.")
        else:
            self.message = f"{said}: suggestions come from the names."

    def _load(self, backbone: Backbone | OwnVectors, wake: Callable[[], None]) -> None:
        from trainer.embeddings.backbones.torch_networks import first_line
        from trainer.text.text_network import TextNetwork

        try:
            network = TextNetwork.load(self._settings)
            reason = network.belongs_to(backbone)
        except SettingsError as error:
            reason = str(error)
        except Exception as error:  # otherwise its state would stay "loading"
            log.exception("The text network cannot be loaded")
            reason = f"The text network cannot be loaded ({first_line(error)})."
        if reason is not None:
            self._end("failed", reason)
        else:
            self._network = network
            self._use()
        wake()

    def _use(self) -> None:
        self.state = "used"
        self.message = f"Suggestions come from the class names; {FIRST_CHECK} answers will say whether they help."

    def _end(self, state: State, message: str) -> None:
        self.state, self.message, self._guess = state, message, None
        log.info("Class names as a first guess: %s", message)

    def _guess_of(self, network: TextNetwork, pool: ImagePool, names: dict[int, str]) -> Guess:
        prototypes = []
        for name in names.values():
            mean = network.words(prompts_for(name, self._settings.text_prompts)).mean(axis=0)
            prototypes.append(mean / np.linalg.norm(mean))
        ids = pool.train.ids
        here = pool.has(ids)  # nobody asks about a removed image
        cosines = np.zeros((len(ids), len(prototypes)), np.float32)
        cosines[here] = self._images(network, pool, ids[here]) @ np.stack(prototypes).T
        return Guess(np.array(list(names), np.int64), softmax(network.scale * cosines, axis=1).astype(np.float32))

    def _images(self, network: TextNetwork, pool: ImagePool, ids: Ids) -> Matrix:
        own = pool.own_features
        parts = [network.images(pool.raw(ids[start : start + CHUNK])[:, :own]) for start in range(0, len(ids), CHUNK)]
        return np.concatenate(parts)


def _right(task: Task, rows: Matrix, targets: Targets, seed: int) -> int:
    """How many of the rows (n, D) models are right about that were fitted on the other folds."""
    right, fold = 0, np.arange(len(rows)) % FOLDS
    for each in range(FOLDS):
        out = fold == each
        if task.enough(targets[~out]):
            model = task.fit(rows[~out], targets[~out], pool=rows, seed=seed)
            right += int((task.answers(model, rows[out]) == targets[out]).sum())
    return right
