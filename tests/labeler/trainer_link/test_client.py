from uuid import uuid4

import pytest

from labeler.trainer_link.client import Rewind, TrainerClient, TrainerProblem
from shared.wire.log import AnnotationBatch
from tests.labeler.followers import following


def batch(after_seq: int) -> AnnotationBatch:
    return AnnotationBatch(log_id=uuid4(), after_seq=after_seq, last_seq=9, annotations=[], catalog_version=0)


def test_a_gap_is_named() -> None:
    with following() as (_, url):
        client = TrainerClient(url, timeout=5, token=None)
        with pytest.raises(Rewind) as rewind:
            client.send(batch(after_seq=4))
        assert rewind.value.acked_seq == 0
        assert client.send(batch(after_seq=0)) == 0
        client.close()


def test_every_failure_is_one_sentence() -> None:
    with following() as (follower, url):
        client = TrainerClient(url, timeout=5, token=None)
        follower.state = "dreaming"
        with pytest.raises(TrainerProblem, match="is not valid"):
            client.status()
        follower.failing = True
        with pytest.raises(TrainerProblem, match="The trainer answered 500: out of order"):
            client.status()
        client.url = "http://127.0.0.1:9"
        with pytest.raises(TrainerProblem, match=r"cannot be reached \(connection refused\)"):
            client.order("stop")
        client.close()
