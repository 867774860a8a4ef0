"""How far annotators agree beyond chance, from what each said of the same images.

Two people are measured by Cohen's kappa (1960). Among more, Fleiss' kappa would demand the same number of answers for
every image, which skips, late answers and a changed `overlap` do not give; Krippendorff's alpha (1970) is the same
ratio of observed to expected disagreement for any number of answers. An image with one answer says nothing and is left
out. Nothing here knows of models: agreement is between people.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from shared.wire.review import Agreement, ClassAgreement, PairAgreement

MOST_IMAGES = 2_000
MOST_CELLS = 5_000_000  # of images × classes × classes, which alpha lays out in memory

Votes = Mapping[str, int]  # annotator → class id


def measure_agreement(votes: Sequence[Votes], names: Mapping[int, str]) -> Agreement:
    """Agreement overall, of each pair and on each class, on the last of `votes`, one an image, oldest first."""
    votes = [each for each in votes if len(each) > 1][-MOST_IMAGES:]
    given = sorted({label for each in votes for label in each.values()})
    votes = votes[-max(1, MOST_CELLS // max(1, len(given)) ** 2) :]
    if not votes:
        return Agreement(measure=None, images=0, agreed=None, kappa=None, pairs=[], classes=[])
    two = len({annotator for each in votes for annotator in each}) == 2
    return Agreement(
        measure="cohen" if two else "krippendorff",
        images=len(votes),
        agreed=sum(len(set(each.values())) == 1 for each in votes) / len(votes),
        kappa=_overall(votes, two=two),
        pairs=_pairs(votes),
        classes=[
            ClassAgreement(
                label=label,
                name=names.get(label, str(label)),
                images=sum(label in each.values() for each in votes),
                kappa=_overall([{who: int(said == label) for who, said in each.items()} for each in votes], two=two),
            )
            for label in given
        ],
    )


def _overall(votes: Sequence[Votes], *, two: bool) -> float | None:
    if two:
        first, second = sorted({who for each in votes for who in each})
        return _cohen([(each[first], each[second]) for each in votes])
    given = sorted({label for each in votes for label in each.values()})
    if len(given) < 2:
        return None
    column = {label: k for k, label in enumerate(given)}
    counts: NDArray[np.int64] = np.zeros((len(votes), len(given)), np.int64)
    for row, each in zip(counts, votes, strict=True):
        for label, times in Counter(each.values()).items():
            row[column[label]] = times
    import krippendorff  # small, but needs numpy's linear algebra: only who asks for agreement waits for it

    return float(krippendorff.alpha(value_counts=counts, level_of_measurement="nominal"))


def _pairs(votes: Sequence[Votes]) -> list[PairAgreement]:
    """Everyone who shares images with somebody, most images first."""
    shared: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
    for each in votes:
        for first, second in combinations(sorted(each), 2):
            shared[first, second].append((each[first], each[second]))
    return [
        PairAgreement(
            annotators=annotators,
            images=len(both),
            agreed=sum(one == other for one, other in both) / len(both),
            kappa=_cohen(both),
        )
        for annotators, both in sorted(shared.items(), key=lambda item: -len(item[1]))
    ]


def _cohen(both: Sequence[tuple[int, int]]) -> float | None:
    """None when only one class was ever given: chance alone would then agree always."""
    if len({label for pair in both for label in pair}) < 2:
        return None
    from sklearn.metrics import cohen_kappa_score  # a second of imports, which only who asks for agreement waits for

    first, second = zip(*both, strict=True)
    return float(cohen_kappa_score(first, second))
