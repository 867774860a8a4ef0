"""A labeler whose grid has predictions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from labeler.service import Service
from shared.wire.images import View
from tests.labeler.followers import Follower, following
from tests.labeler.projects import labeler, photos
from tests.services import wait_for

CAT, DOG = 1, 2


@contextmanager
def gallery(tmp: Path, count: int = 12, *, model: bool = True, **values: Any) -> Iterator[tuple[Service, Follower]]:
    """A labeler with `count` images whose trainer predicts "cat" for odd ones, with confidence growing by number."""
    photos(tmp / "photos", count)
    with following() as (follower, url), labeler(tmp, trainer_url=url, trainer_poll_seconds=0.05, **values) as service:
        ids = list(service.tally.splits)  # held-out ones too: what the trainer says is not to be trusted with that
        follower.said = {each: (CAT if each % 2 else DOG, 0.5 + each / 100) for each in ids}
        follower.groups = [ids[0::3], ids[1::3], ids[2::3]]
        follower.model_version = "m1" if model else None
        wait_for(lambda: (status := service.trainer.status()) and status.log_id and (not model or status.model_version))
        yield service, follower


def listed(service: Service, **view: Any) -> list[int]:
    """The images of a view."""
    return service.gallery.listing(View(**view)).image_ids
