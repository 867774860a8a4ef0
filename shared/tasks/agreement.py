"""Measures how well annotators agree beyond chance, from their answers on the same images.

For two people, the measure is Cohen's kappa (1960). For more, it is Krippendorff's alpha (1970), the ratio of observed
to expected disagreement for any number of answers. Fleiss' kappa would need the same number of answers for every image,
which skips, late answers and a changed `overlap` rule out. An image with one answer is no evidence and is left out. No
model is involved: agreement is between people.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from shared.wire.review import Agreement, ClassAgreement, PairAgreement

MOST_IMAGES = 2_000
MOST_CELLS = 5_000_000  # images × classes × classes that alpha may hold in memory

Votes = Mapping[str, int]  # annotator → class id


def measure_agreement(votes: Sequence[Votes], names: Mapping[int, str], most: int = MOST_IMAGES) -> Agreement:
    """Agreement overall, of each pair and on each class. `votes` has one mapping per image, oldest first; only the last
    `most` count.
    """
    votes = [each for each in votes if len(each) > 1][-most:]
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


def measure_agreement_by_class(
    votes: Sequence[Mapping[str, tuple[Collection[int], Collection[int]]]], names: Mapping[int, str]
) -> Agreement:
    """Agreement on each class and the mean over the classes, where annotators say yes and no to classes.

    `votes` maps each annotator to the classes with a yes and those with a no. People agree on an image if nobody says
    yes to a class where another says no.
    """
    votes = [each for each in votes if len(each) > 1][-MOST_IMAGES:]
    if not votes:
        return Agreement(measure=None, images=0, agreed=None, kappa=None, pairs=[], classes=[])
    two = len({annotator for each in votes for annotator in each}) == 2
    said = {label: _on(label, votes) for label in sorted({label for each in votes for label in _named(each)})}
    said = {label: each for label, each in said.items() if each}
    classes = [
        ClassAgreement(
            label=label,
            name=names.get(label, str(label)),
            images=sum(any(each.values()) for each in on),
            kappa=_overall(on, two=two),
        )
        for label, on in said.items()
    ]
    both: dict[tuple[str, str], list[Mapping[str, tuple[Collection[int], Collection[int]]]]] = defaultdict(list)
    for each in votes:
        for pair in combinations(sorted(each), 2):
            both[pair].append({who: each[who] for who in pair})
    pairs = [
        PairAgreement(
            annotators=pair,
            images=len(some),
            agreed=sum(map(_agree, some)) / len(some),
            kappa=_mean([_cohen([(on[pair[0]], on[pair[1]]) for on in _on(label, some)]) for label in said]),
        )
        for pair, some in sorted(both.items(), key=lambda item: -len(item[1]))
    ]
    return Agreement(
        measure="cohen" if two else "krippendorff",
        images=len(votes),
        agreed=sum(map(_agree, votes)) / len(votes),
        kappa=_mean([each.kappa for each in classes]),
        pairs=pairs,
        classes=classes,
    )


def _on(label: int, votes: Iterable[Mapping[str, tuple[Collection[int], Collection[int]]]]) -> list[Votes]:
    """Everybody's answers for one class (1 for yes, 0 for no), on the images that several people answered."""
    said = [
        {who: int(label in yes) for who, (yes, no) in each.items() if label in yes or label in no} for each in votes
    ]
    return [each for each in said if len(each) > 1]


def _named(vote: Mapping[str, tuple[Collection[int], Collection[int]]]) -> set[int]:
    return {label for yes, no in vote.values() for label in (*yes, *no)}


def _agree(vote: Mapping[str, tuple[Collection[int], Collection[int]]]) -> bool:
    return not {label for yes, _ in vote.values() for label in yes} & {label for _, no in vote.values() for label in no}


def _mean(kappas: Sequence[float | None]) -> float | None:
    known = [each for each in kappas if each is not None]
    return sum(known) / len(known) if known else None


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
    import krippendorff  # slow to import, so only requests for agreement import it

    return float(krippendorff.alpha(value_counts=counts, level_of_measurement="nominal"))


def _pairs(votes: Sequence[Votes]) -> list[PairAgreement]:
    """Every pair of people with images in common, most images first."""
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
    """None if only one class was ever given: then even chance would always agree."""
    if len({label for pair in both for label in pair}) < 2:
        return None
    from sklearn.metrics import cohen_kappa_score  # takes a second to import, so only requests for agreement do

    first, second = zip(*both, strict=True)
    return float(cohen_kappa_score(first, second))
