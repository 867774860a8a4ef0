from uuid import uuid4

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import average_precision_score

from shared.wire.jobs import ComparisonRequest
from tests.trainer.descriptions import description
from trainer.evaluation.measured import Measured
from trainer.evaluation.metrics import wilson
from trainer.evaluation.model_comparison import Answers, compare, compare_recorded, differences, pair, precision_recall

NAMES = {1: "red", 2: "blue", 3: "navy"}


def answers(predicted, version="base", *, sure=0.8, classes=(1, 2, 3), **more):
    """Predictions with confidence `sure` in each of `predicted`; the rest is shared."""
    ids = np.array(classes, np.int64)
    p = np.full((len(predicted), len(ids)), (1 - sure) / (len(ids) - 1), np.float32)
    p[np.arange(len(predicted)), np.searchsorted(ids, predicted)] = sure
    return Answers(version, ids, p, bytes=1_000, **more)


def request(**more):
    return ComparisonRequest(base="base", candidate="candidate", **more)


TRUTH = np.array([1, 2, 3] * 20)
WORSE = np.where(np.arange(60) < 20, 1, TRUTH)  # a third of them called red
RIGHT = TRUTH


def test_the_better_one_wins_by_the_rule():
    found = compare(TRUTH, answers(WORSE), answers(RIGHT, "candidate"), NAMES, request(min_delta={"accuracy": 0.05}))
    assert (found.decision, found.winner) == ("update_model", "candidate")
    assert found.checks[0].gain == pytest.approx(13 / 60)
    assert found.base.accuracy.n == 60
    assert found.base.auc_pr < found.candidate.auc_pr == 1.0
    back = compare(TRUTH, answers(RIGHT), answers(WORSE, "candidate"), NAMES, request())
    assert (back.decision, back.winner) == ("discard", "base")


@pytest.mark.parametrize(
    ("rule", "decision"), [("all", "discard"), ("any", "update_model"), (0.5, "update_model"), (0.51, "discard")]
)
def test_rules(rule, decision):
    checks = {"accuracy": 0.1, "latency_ms": 5.0}  # it must be 5 ms faster, but is 5 ms slower
    base, other = answers(WORSE, latency_ms=10.0), answers(RIGHT, "candidate", latency_ms=15.0)
    found = compare(TRUTH, base, other, NAMES, request(min_delta=checks, rule=rule))
    assert [check.passed for check in found.checks] == [True, False]
    assert found.checks[1].gain == -5.0
    assert found.decision == decision
    assert "1 of 2 checks passed" in found.reason


def test_a_gain_that_may_be_chance_fails_if_significance_is_required():
    slightly = TRUTH.copy()
    slightly[0] = 2
    found = compare(TRUTH, answers(slightly), answers(RIGHT, "candidate"), NAMES, request(significant=True))
    assert found.pairs.p == 1.0
    assert found.decision == "discard"
    assert "is not significant" in found.reason
    assert compare(TRUTH, answers(slightly), answers(RIGHT, "candidate"), NAMES, request()).decision == "update_model"
    clear = compare(TRUTH, answers(WORSE), answers(RIGHT, "candidate"), NAMES, request(significant=True))
    assert clear.decision == "update_model"


def test_an_unmeasured_metric_passes_no_check():
    found = compare(TRUTH, answers(WORSE), answers(RIGHT, "candidate"), NAMES, request(min_delta={"latency_ms": -1e9}))
    assert found.checks[0].gain is None
    assert found.decision == "discard"


def test_images_of_an_unknown_class_count_as_errors():
    narrow = answers(np.where(TRUTH == 3, 2, TRUTH), classes=(1, 2))
    found = compare(TRUTH, narrow, answers(RIGHT, "candidate"), NAMES, request())
    assert found.base.accuracy.value == pytest.approx(2 / 3)
    navy = next(curve for curve in found.base.curves if curve.name == "navy")
    assert navy.auc == pytest.approx(1 / 3)  # no better than calling everything navy
    assert found.images == 60


def test_curves_are_scikit_learns():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(3), 60).astype(np.float32)
    said = Answers("base", np.array([1, 2, 3]), p, bytes=1)
    mean, *curves = precision_recall(TRUTH, said, NAMES | {4: "never seen"})
    for k, curve in enumerate(curves[:3]):
        assert curve.auc == pytest.approx(average_precision_score(k + 1 == TRUTH, p[:, k]))
        assert curve.precision == sorted(curve.precision, reverse=True)
        assert (curve.recall[0], curve.recall[-1]) == (0.0, 1.0)
        assert curve.precision[-1] >= 1 / 3 - 1e-4  # a third of all predictions is right
    assert mean.auc == pytest.approx(np.mean([curve.auc for curve in curves[:3]]))
    assert (curves[3].auc, curves[3].support) == (None, 0)


cells = st.tuples(*[st.integers(0, 40)] * 4).filter(lambda parts: sum(parts) > 0)


@given(cells)
def test_pairs_add_up_and_swapping_mirrors_them(parts):
    _both, only_base, only_candidate, _neither = parts
    truth = np.ones(sum(parts), np.int64)
    base = np.repeat([1, 1, 2, 2], parts)
    candidate = np.repeat([1, 2, 1, 2], parts)
    found, mirrored = pair(truth, base, candidate), pair(truth, candidate, base)
    assert (found.both_right, found.only_base, found.only_candidate, found.both_wrong) == parts
    assert found.gain.low <= found.gain.value <= found.gain.high
    assert found.gain.value == pytest.approx(-mirrored.gain.value)
    assert found.p == pytest.approx(mirrored.p)
    if only_base + only_candidate:
        assert found.p == pytest.approx(binomtest(only_base, only_base + only_candidate).pvalue)


def test_differing_images_come_with_both_predictions():
    images = [{"image_id": 7, "class_id": 1}, {"image_id": 8, "class_id": None}, {"image_id": 9, "class_id": 3}]
    base, candidate = answers([1, 1, 3]), answers([2, 3, 3], "candidate", sure=0.9)
    found = differences(images, base, candidate, NAMES)
    assert [(each.image_id, each.label, each.base, each.candidate) for each in found] == [
        (7, "red", "red", "blue"),
        (8, None, "red", "navy"),
    ]


def test_recorded_figures_are_compared_without_running_anything(tmp_path):
    from tests.trainer.versions.test_registry import TENSORS
    from trainer.versions.registry import Registry

    registry = Registry(tmp_path)
    plain = registry.save("base", TENSORS, description(), []).description
    found = compare_recorded(plain, plain, request(recorded=True))
    assert found.recorded
    assert found.decision == "discard"  # neither was measured
    sizes = compare_recorded(plain, plain, request(recorded=True, min_delta={"bytes": 0}))
    assert sizes.decision == "update_model"


def test_a_detector_has_no_accuracy(tmp_path):
    from tests.trainer.versions.test_registry import TENSORS
    from trainer.versions.registry import Registry

    measured = Measured({}).evaluation(log_id=uuid4(), acked_seq=10, model_version="d", labels=8, spent=28)
    said = Registry(tmp_path).save("base", TENSORS, description(metrics=measured), []).description
    assert compare_recorded(said, said, request(recorded=True)).base.accuracy is None


@pytest.mark.parametrize("active", [False, True])
def test_recorded_figures_of_an_active_test_say_so(tmp_path, active):
    from tests.trainer.versions.test_registry import TENSORS
    from trainer.versions.registry import Registry

    measured = Measured({}, wilson(18, 20)).evaluation(
        log_id=uuid4(), acked_seq=10, model_version="head-1", labels=8, spent=28, active=active
    )
    said = Registry(tmp_path).save("base", TENSORS, description(metrics=measured), []).description
    reason = compare_recorded(said, said, request(recorded=True)).reason
    assert ("Hard test images were asked more often" in reason) is active


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"candidate": "base"}, "same version"),
        ({"rule": 0}, "rule"),
        ({"rule": 1.5}, "rule"),
        ({"min_delta": {}}, "min_delta"),
        ({"min_delta": {"beauty": 0}}, "beauty"),
        ({"recorded": True, "significant": True}, "different images"),
        ({"split": "train"}, "split"),
    ],
)
def test_an_impossible_request_is_refused(given, named):
    with pytest.raises(ValueError, match=named):
        ComparisonRequest.model_validate({"base": "base", "candidate": "candidate", **given})
