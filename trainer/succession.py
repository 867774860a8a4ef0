"""A take-over: other embeddings serve from one round to the next, and two versions say what came before and after."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trainer.intake import Intake
from trainer.rounds import Snapshot, fit
from trainer.serving import Serving, binding

if TYPE_CHECKING:  # it is the loop's thread on which this happens
    from trainer.loop import Loop

logger = logging.getLogger(__name__)


@dataclass
class Successor:
    """The pool as laid out by embeddings that shall serve, and the version that says why. `seconds` they took."""

    intake: Intake
    name: str
    reason: str
    seconds: float
    done: threading.Event = field(default_factory=threading.Event)
    error: Exception | None = None


def take_over(loop: Loop, successor: Successor) -> None:
    """Fit on the new embeddings and change to them; what went before is saved as `NAME-base`, their parent.

    A kill before the last line leaves the old ones in force, and so does an error. Done again, nothing is saved twice.
    """
    snapshot = Snapshot.of(loop.replica)
    successor.intake.refresh()
    pool = successor.intake.pool
    if snapshot is None or pool is None:
        raise ValueError("The images that the challenger has learned are gone.")
    model = fit(pool, snapshot, None, seed=loop.settings.seed)
    if model is None:
        raise ValueError("The labels that the challenger has learned are gone.")
    name, base = successor.name, f"{successor.name}-base"
    _keep(loop, base, f"what {name} was better than")
    before = loop.intake, loop.model, loop.latest, loop.serving
    key = successor.intake.embedder.key
    serving = Serving(key=key, version=name, settings=binding(loop.settings), trained=name)
    loop.change_to(successor.intake, model, None, serving)
    try:
        loop.evaluate(snapshot, loop.timings)
        _keep(loop, name, successor.reason, parent=base, trained_on=name, seconds=successor.seconds)
        serving.write(loop.folder)
    except Exception:
        loop.change_to(*before)
        raise
    logger.info("%s: %s", name, successor.reason)


def _keep(loop: Loop, name: str, reason: str, **more: Any) -> None:
    try:
        loop.save_version(name, reason=reason, **more)
    except FileExistsError:
        logger.info("%s was saved before a kill", name)
