"""Multi-label from log to evaluation: what is asked, suggested, measured and stopped on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from shared.tasks.multilabel import Classes, names_in_cell
from shared.wire.evaluation import Evaluation
from shared.wire.queries import QueryPush
from tests.trainer.grids import strips, values
from tests.trainer.logs import LOG, entry
from trainer.embeddings.space import ImagePool
from trainer.evaluation.learning_curve import Stability
from trainer.loop.rounds import Timings, fit, measure, rank, weigh
from trainer.loop.stopping import Thresholds
from trainer.strategies import STRATEGIES, strategy_named
from trainer.strategies.ranking import Pool, Rarity
from trainer.strategies.uncertainty import entropy
from trainer.sync.snapshot import Snapshot
from trainer.tasks.multilabel import Multilabel
from trainer.tasks.pool_scores import score
from trainer.tasks.registry import task_named
from trainer.versions.library import as_predictions

TRAIN, TEST = range(300), range(300, 400)
NAMES = {digit: f"digit {digit}" for digit in range(10)}
TASK = task_named("multilabel")
WORKING = [name for name, registered in STRATEGIES.items() if registered.several]


@pytest.fixture(scope="module")
def project():
    """A pool of strips of digits, and the answer of each."""
    rows, shown = strips(400)
    vectors = {f"{image:064x}": rows[image] for image in (*TRAIN, *TEST)}
    pool = ImagePool(rows.shape[1], lambda sha256s: np.stack([vectors[each] for each in sha256s]))
    pool.add([entry(image, split="test" if image in TEST else "train") for image in (*TRAIN, *TEST)], complete=True)
    return pool, dict(enumerate(values(shown)))


def labeled(truth, train, names=NAMES):
    labels = {image: truth[image] for image in (*range(train), *TEST)}
    return Snapshot(LOG, len(labels), labels, frozenset(labels), names, here=tuple(labels), task="multilabel")


def ask(pool, snapshot, strategy="uncertainty_herding", length=20):
    weigh(pool, snapshot)
    model = fit(pool, snapshot, None, seed=0)
    push = rank(
        pool,
        snapshot,
        model,
        strategy_named(strategy, several=True),
        strategy_name=strategy,
        leased=frozenset({299}),
        length=length,
        seed=0,
        timings=Timings(),
    )
    assert push is not None
    return model, push


def test_targets_are_yes_no_and_unknown():
    given = [Classes([1], [0, 3]), Classes([], [2]), Classes([3])]
    assert TASK.targets(given).tolist() == [[0, 1, -1, 0], [-1, -1, 0, -1], [-1, -1, -1, 1]]
    assert TASK.targets([]).shape == (0, 0)
    assert not TASK.enough(TASK.targets(given[:2]))
    assert TASK.enough(TASK.targets(given))
    np.testing.assert_array_equal(TASK.as_numbers(TASK.targets(given)), [[0], [0.5], [1]])


def test_before_a_class_has_a_yes_and_a_no_the_list_needs_no_model(project):
    pool, truth = project
    snapshot = Snapshot(LOG, 1, {0: truth[0]}, frozenset({0}), NAMES, task="multilabel")
    model, push = ask(pool, snapshot)
    assert model is None
    assert len({query.image_id for query in push.queries} - {0, 299}) == 20
    assert all(not query.suggestions for query in push.queries)
    assert TASK.unlearned(None, NAMES) == list(NAMES.values())


@pytest.mark.parametrize("strategy", WORKING)
def test_supported_strategies_ask_with_the_likeliest_classes_suggested(project, strategy):
    pool, truth = project
    model, push = ask(pool, labeled(truth, 120), strategy)
    asked = {query.image_id for query in push.queries}
    assert len(asked) == 20
    assert asked <= set(TRAIN) - set(range(120)) - {299}
    limits = dict(zip(model.head.classes.tolist(), model.head.thresholds.tolist(), strict=True))
    for query in push.queries:
        said = [each.confidence for each in query.suggestions]
        assert len(said) == 5
        assert said == sorted(said, reverse=True)
        assert all(each.chosen == (each.confidence >= limits[each.label]) for each in query.suggestions)
        assert "{class:" not in str(query.reason)
    right = [each.label in truth[query.image_id].yes for query in push.queries for each in query.suggestions[:1]]
    assert np.mean(right) > 0.5
    assert QueryPush.model_validate_json(push.model_dump_json()) == push


@pytest.mark.parametrize("name", [*sorted(set(STRATEGIES) - set(WORKING)), "0.5 margin + 0.5 random"])
def test_strategies_that_need_one_class_per_image_are_refused_with_alternatives(name):
    with pytest.raises(ValueError, match="In a multi-label project, choose one of uncertainty_herding, maxherding"):
        strategy_named(name, several=True)
    strategy_named(name)


def test_a_deleted_class_is_not_suggested(project):
    pool, truth = project
    names = {key: name for key, name in NAMES.items() if key != 4}
    _, push = ask(pool, labeled(truth, 120, names))
    assert {each.label for query in push.queries for each in query.suggestions} == names.keys()


def test_an_evaluation_has_every_figure_and_stops_on_its_lower_bounds(project):
    pool, truth = project
    earlier: list[Evaluation] = []
    stability, thresholds, stops = Stability(), Thresholds({"mean_average_precision": 0.5, "micro_f1": 0.4}), []
    model = None
    for train in (60, 180, 280):
        model = fit(pool, labeled(truth, train), model, seed=0)
        assert model is not None
        found = measure(pool, model.snapshot, model, round_number=1, earlier=earlier, stability=stability)
        assert found is not None
        earlier.append(found[0])
        stops.append(thresholds.observe(found[1], found[0].test_labels, found[0].labels))
    last = earlier[-1]
    assert last.accuracy == last.exact_match
    for each in (last.micro_f1, last.mean_average_precision, last.exact_match):
        assert each is not None
        assert each.low < each.value < each.high
        assert each.n == len(TEST)
    assert last.macro_f1_low < last.macro_f1 < last.macro_f1_high
    assert last.mean_average_precision.value > earlier[0].mean_average_precision.value
    assert [each.name for each in last.classes] == list(NAMES.values())
    assert all(each.learned and each.threshold is not None for each in last.classes)
    assert last.together
    assert [each.labels for each in last.random_baseline] == [10, 20, 40, 80]
    assert last.random_baseline[-1].accuracy.value > last.random_baseline[0].accuracy.value
    assert len(stability.kappas) == 2
    assert stops[0] is None
    assert "mean average precision is at least" in stops[-1]
    assert Evaluation.model_validate_json(last.model_dump_json()) == last


def test_a_class_without_answers_is_named_as_not_learned(project):
    pool, truth = project
    names = {**NAMES, 10: "digit 10"}
    model = fit(pool, labeled(truth, 80, names), None, seed=0)
    found = measure(pool, model.snapshot, model, round_number=1)
    assert found is not None
    assert TASK.unlearned(model.head, names) == ["digit 10"]
    newest = found[0].classes[-1]
    assert (newest.name, newest.learned, newest.support, newest.average_precision) == ("digit 10", False, 0, None)
    assert found[0].exact_match.n == 0  # no answer says anything about the new class


def test_a_saved_model_is_the_same_and_its_labels_are_counted(project):
    pool, truth = project
    model = fit(pool, labeled(truth, 60), None, seed=0)
    again = TASK.learner.load(TASK.learner.save(model.head))
    np.testing.assert_array_equal(TASK.probabilities(again, pool.held.rows), model.probabilities(pool.held.rows))
    assert TASK.cells(Classes([3, 7], [1]), NAMES) == {"label": "digit 3;digit 7", "class_id": "3;7;-1"}
    assert TASK.counts([Classes([3, 7]), Classes([7], [3]), Classes([], [7])], NAMES) == {"digit 3": 1, "digit 7": 2}


def test_the_same_sets_of_classes_have_the_same_number(project):
    pool, truth = project
    model = fit(pool, labeled(truth, 150), None, seed=0)
    rows = pool.train.rows
    numbers, sets = TASK.answers(model.head, rows), model.head.decide(model.head.predict_proba(rows))
    _, as_sets = np.unique(sets, axis=0, return_inverse=True)
    assert len(np.unique(numbers)) == len(np.unique(as_sets))
    assert all(len(np.unique(numbers[as_sets == k])) == 1 for k in np.unique(as_sets))


# ------------------------------------------------------------ uncertainty


def pool_of(p, rarity):
    p = np.asarray(p, np.float32)
    n = len(p)
    free = np.zeros(n, bool)
    return Pool(
        np.eye(n, dtype=np.float32), p, np.full(n, -1), free, np.arange(n), classes=np.arange(p.shape[1]), rarity=rarity
    )


def test_a_rare_class_in_doubt_is_asked_before_a_common_one():
    rarity = Rarity.of(np.array([99, 0]), 0)
    weights = rarity.weigh(np.array([[0.5, 0.01], [0.01, 0.5], [0.01, 0.01], [0.99, 0.99]]))
    assert weights[1] > weights[0] > max(weights[2], weights[3])
    assert rarity.doubted(np.array([[0.5, 0.5]]))[0].tolist() == [1]


def test_a_class_is_in_doubt_near_its_own_threshold():
    rarity = Rarity.of(np.array([4, 4]), 0, np.array([0.5, 0.1]))
    weights = rarity.weigh(np.array([[0.01, 0.1], [0.01, 0.5], [0.5, 0.01]]))
    assert weights[0] == pytest.approx(weights[2], abs=0.2)
    assert weights[0] > 1.4 * weights[1]
    assert rarity.doubted(np.array([[0.2, 0.1]]))[0].tolist() == [1]


def test_an_image_without_any_known_class_may_show_one_that_is_not_learned():
    p = np.array([[0.02, 0.03], [0.98, 0.03]])
    without, with_one = (Rarity.of(np.array([10, 10]), unlearned).weigh(p) for unlearned in (0, 1))
    assert with_one[0] > 0.9 > 3 * without[0]
    assert with_one[1] == pytest.approx(without[1], abs=0.05)


def test_entropy_adds_up_over_the_classes():
    pool = pool_of([[0.5, 0.01], [0.5, 0.5], [0.01, 0.01]], Rarity.of(np.array([3, 3]), 0))
    ranking = entropy(pool, 3)
    assert ranking.rows.tolist() == [1, 0, 2]
    assert ranking.scores[0] == pytest.approx(2 * np.log(2))
    assert ranking.reasons[1] == "unsure about {class:0}"


def test_a_large_pool_is_estimated_class_by_class(project):
    pool, truth = project
    model = fit(pool, labeled(truth, 150), None, seed=0)
    rows = pool.train.rows
    view = Pool(rows, None, np.full(len(rows), -1), np.zeros(len(rows), bool), np.arange(len(rows)))
    rarity = Rarity.of(np.full(10, 5), 0)
    exactly, scored = score(replace(view, rarity=rarity), model.head, 10)
    assert scored.all()
    estimated, known = score(replace(view, rarity=rarity), model.head, 10, work=150 * len(model.head.landmarks))
    assert estimated.probabilities is not None
    assert exactly.probabilities is not None
    np.testing.assert_allclose(estimated.probabilities[known], exactly.probabilities[known], atol=1e-4)
    assert ((estimated.probabilities >= 0) & (estimated.probabilities <= 1)).all()


def test_a_class_with_a_semicolon_in_its_name_stays_one_class_in_a_cell():
    names = {1: "a;b", 2: "c"}
    assert names_in_cell(TASK.cells(Classes({1, 2}), names)["label"]) == ["a;b", "c"]
    said = as_predictions("v1", ["a;b", "c"], np.float32([[0.9, 0.8]]), np.array([[True, True]])).predictions[0]
    assert (names_in_cell(said.label), said.labels) == (["a;b", "c"], ["a;b", "c"])


def test_two_models_are_compared_on_known_answers_only():
    task = Multilabel()
    truth = task.targets([Classes({1}, {2}), Classes({2}, {1}), Classes({1, 2}), Classes((), {1})] * 10)
    right = task.true(truth)
    assert right[:4] == [[1], [2], [1, 2], []]
    assert not task.errs(truth, right).any()
    knows_no_two = [[each for each in said if each != 2] for said in right]
    assert task.errs(truth, knows_no_two).tolist() == [False, True, True, False] * 10
    nobody_knows = [[*said, 2] if number % 4 == 3 else said for number, said in enumerate(right)]
    assert not task.errs(truth, nobody_knows).any()
    found = task.contest(truth, knows_no_two, right)
    assert (found.base.value, found.candidate.value, found.gain.value) == (0.5, 1.0, 0.5)
    assert found.p < 0.001
    assert task.contest(truth, right, nobody_knows).p == 1.0
    back = task.contest(truth, right, knows_no_two)
    assert (back.gain.value, back.p) == (-0.5, found.p)


def test_a_few_images_that_all_favour_one_model_can_be_chance():
    task = Multilabel()
    truth = task.targets([Classes({1}, {2})] * 5 + [Classes({2}, {1})] * 20)
    right, wrong = task.true(truth), [[2]] * 25
    assert task.contest(truth, wrong, right).p == pytest.approx(2 / 2**5, abs=0.01)  # like a sign test on five images


def test_a_network_has_an_output_for_each_class_that_some_have_and_others_lack():
    task = Multilabel()
    truth = task.targets([Classes({1}, {3}), Classes({3}, {2}), Classes({1}, {2}), Classes((), {3}), Classes({4})])
    classes = task.learnable(truth)
    assert classes.tolist() == [3]
    said, says = task.outputs(truth, classes)
    assert says.tolist() == [True, True, False, True, False]
    assert said[says].tolist() == [[0], [1], [0]]
    assert task.outputs(truth, np.array([3, 9]))[0][:, 1].tolist() == [-1] * 5  # no answer says anything about class 9
    assert task.kinds(truth).tolist() == [1, 3, 1, -1, 4]
