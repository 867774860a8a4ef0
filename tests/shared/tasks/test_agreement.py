import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.tasks.agreement import measure_agreement

NAMES = {1: "cat", 2: "dog", 3: "hen"}
VOTES = st.lists(st.dictionaries(st.sampled_from(["ann", "bob", "eve"]), st.integers(1, 3), max_size=3), max_size=30)


def fleiss(counts: list[list[int]]) -> float:
    """As in Fleiss (1971), for images with the same number of answers."""
    table = np.array(counts, float)
    n = table[0].sum()
    observed = ((table**2).sum(axis=1) - n).mean() / (n * (n - 1))
    expected = ((table.sum(axis=0) / table.sum()) ** 2).sum()
    return float((observed - expected) / (1 - expected))


def test_two_people_are_measured_by_cohens_kappa() -> None:
    """The example of 50 grant proposals that textbooks use: 20 + 15 agree, 5 + 10 differ, kappa is 0.4."""
    votes = [{"ann": a, "bob": b} for (a, b), n in {(1, 1): 20, (1, 2): 5, (2, 1): 10, (2, 2): 15}.items()] * 1
    counted = [vote for vote, n in zip(votes, (20, 5, 10, 15), strict=True) for _ in range(n)]
    found = measure_agreement(counted, NAMES)
    assert (found.measure, found.images, found.agreed) == ("cohen", 50, 0.7)
    assert found.kappa == pytest.approx(0.4)
    (pair,) = found.pairs
    assert (pair.annotators, pair.images, pair.agreed, pair.kappa) == (("ann", "bob"), 50, 0.7, found.kappa)
    assert [(each.name, each.images) for each in found.classes] == [("cat", 35), ("dog", 30)]
    assert [each.kappa for each in found.classes] == pytest.approx([0.4, 0.4])  # two classes: one against the other


def test_more_people_are_measured_as_fleiss_does_but_for_the_size_of_the_sample() -> None:
    said = [(1, 1, 1), (1, 2, 1), (2, 2, 2), (3, 3, 1), (3, 3, 3), (2, 1, 2), (1, 1, 1), (2, 2, 2)] * 50
    votes = [dict(zip(("ann", "bob", "eve"), each, strict=True)) for each in said]
    found = measure_agreement(votes, NAMES)
    assert found.measure == "krippendorff"
    counts = [[each.count(label) for label in (1, 2, 3)] for each in said]
    assert found.kappa == pytest.approx(fleiss(counts), abs=1e-3)
    assert {pair.annotators for pair in found.pairs} == {("ann", "bob"), ("ann", "eve"), ("bob", "eve")}


def test_images_with_one_answer_say_nothing() -> None:
    assert measure_agreement([{"ann": 1}, {}], NAMES).measure is None
    found = measure_agreement([{"ann": 1}, {"ann": 1, "bob": 2}, {"ann": 2, "bob": 2}, {"bob": 1}], NAMES)
    assert (found.images, found.agreed) == (2, 0.5)


def test_one_class_throughout_has_no_kappa() -> None:
    found = measure_agreement([{"ann": 1, "bob": 1}, {"bob": 1, "eve": 1}], NAMES)
    assert (found.agreed, found.kappa) == (1, None)
    assert [pair.kappa for pair in found.pairs] == [None, None]
    assert [each.kappa for each in found.classes] == [None]


@given(VOTES)
def test_any_votes_have_an_agreement(votes: list[dict[str, int]]) -> None:
    found = measure_agreement(votes, NAMES)
    assert found.images == sum(len(each) > 1 for each in votes)
    kappas = [found.kappa, *(pair.kappa for pair in found.pairs), *(each.kappa for each in found.classes)]
    assert all(-1 <= kappa <= 1 for kappa in kappas if kappa is not None)
    if found.agreed == 1:
        assert found.kappa in (None, pytest.approx(1))
