from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from labeler.errors import Conflict
from labeler.progress.evaluations import Evaluations
from labeler.store.database import Store
from shared.wire.evaluation import Evaluation, Interval
from tests.labeler.projects import settings

LOG = uuid4()


def evaluation(round_: int, log_id: UUID = LOG) -> Evaluation:
    return Evaluation(
        id=uuid4(),
        log_id=log_id,
        acked_seq=round_,
        model_version=f"m{round_}",
        round=round_,
        labels=round_,
        spent=round_,
        created_at=datetime.now(UTC),
        accuracy=Interval(value=0.5, low=0.4, high=0.6, n=90),
        macro_f1=0.5,
        log_loss=0.7,
    )


def test_kept_once_each_and_in_order(tmp_path: Path) -> None:
    store = Store(settings(tmp_path))
    evaluations = Evaluations(store, LOG)
    assert evaluations.last is None
    sent = [evaluation(round_) for round_ in range(3)]
    for each in [*sent, sent[0]]:
        evaluations.add(each)
    with pytest.raises(Conflict, match="log"):
        evaluations.add(evaluation(9, uuid4()))
    store.close()
    store = Store(settings(tmp_path))
    again = Evaluations(store, LOG)
    assert again.all() == sent
    assert again.last == sent[-1]
    store.close()
