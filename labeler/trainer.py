"""The trainer as the pages use it: its last seen status, and the buttons Pause, Resume and Stop."""

from __future__ import annotations

from typing import Literal

from labeler.outbox import Outbox
from labeler.problems import Unreachable
from labeler.trainer_client import TrainerClient, TrainerProblem
from shared.messages import TrainerStatus, TrainerView

FLUSH_SECONDS = 3.0


class Trainer:
    """Each order is one finite request and raises Unreachable when it was not followed."""

    def __init__(self, client: TrainerClient, outbox: Outbox) -> None:
        self._client = client
        self._outbox = outbox

    def status(self) -> TrainerStatus | None:
        """As last seen, without a request; None while the trainer does not answer."""
        return self._outbox.status

    def view(self) -> TrainerView:
        """The same with what the outbox knows."""
        return self._outbox.trainer_view()

    def pause(self) -> TrainerStatus:
        """Stop learning until resumed; labels are still taken."""
        return self._order("pause")

    def resume(self) -> TrainerStatus:
        """Go on, also after a stop."""
        return self._order("resume")

    def stop(self) -> TrainerStatus:
        """Send what waits here, so that the last evaluation has seen it, then finish and save."""
        self._outbox.flush(FLUSH_SECONDS)
        return self._order("stop")

    def _order(self, order: Literal["pause", "resume", "stop"]) -> TrainerStatus:
        try:
            status = self._client.order(order)
        except TrainerProblem as problem:
            raise Unreachable(str(problem)) from None
        self._outbox.look()
        return status
