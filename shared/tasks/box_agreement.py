"""Measures how well annotators agree on boxes.

Whether they find the same objects is measured by F1 at IoU 0.5 of each pair, averaged over images; no chance level is
known for boxes. On objects that they have in common, agreement on the class is measured beyond chance, by the same κ
and α as for one class per image; see `shared.tasks.agreement`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import combinations

from shared.tasks.agreement import MOST_IMAGES, measure_agreement
from shared.tasks.box_matching import groups
from shared.tasks.boxes import Boxes
from shared.wire.review import Agreement, ClassAgreement, PairAgreement

MOST_OBJECTS = 50_000
_Objects = list[dict[str, int]]
"""The objects in an image: for each, the person who drew it → the class given."""


def measure_agreement_on_boxes(votes: Sequence[Mapping[str, Boxes]], names: Mapping[int, str]) -> Agreement:
    """Agreement overall, of each pair and on each class. `votes` has one mapping per image, oldest first; only the last
    ones count.
    """
    votes = [each for each in votes if len(each) > 1][-MOST_IMAGES:]
    if not votes:
        return Agreement(measure=None, images=0, agreed=None, kappa=None, pairs=[], classes=[])
    images = [(sorted(each), _objects(each)) for each in votes]
    of_pairs: dict[tuple[str, str], list[_Objects]] = defaultdict(list)
    for people, objects in images:
        for pair in combinations(people, 2):
            seen = [{who: each[who] for who in pair if who in each} for each in objects]
            of_pairs[pair].append([each for each in seen if each])
    on_classes = measure_agreement([each for _, objects in images for each in objects], names, MOST_OBJECTS)
    kappas = {each.label: each.kappa for each in on_classes.classes}
    pairs = [_of_pair(pair, some, names) for pair, some in sorted(of_pairs.items(), key=lambda item: -len(item[1]))]
    given = sorted({label for _, objects in images for each in objects for label in each.values()})
    everybody = {who for people, _ in images for who in people}
    return Agreement(
        measure="cohen" if len(everybody) == 2 else "krippendorff",
        images=len(votes),
        agreed=sum(_same(objects, len(people)) for people, objects in images) / len(images),
        kappa=on_classes.kappa,
        f1=_mean(_f1(objects) for some in of_pairs.values() for objects in some),
        pairs=pairs,
        classes=[
            ClassAgreement(
                label=label,
                name=names.get(label, str(label)),
                images=sum(any(label in each.values() for each in objects) for _, objects in images),
                kappa=kappas.get(label),
            )
            for label in given
        ],
    )


def _objects(vote: Mapping[str, Boxes]) -> _Objects:
    people = sorted(vote)
    return [{people[k]: label for k, label in each} for each in _labels(tuple(vote[who] for who in people))]


@lru_cache(maxsize=MOST_IMAGES)
def _labels(answers: tuple[Boxes, ...]) -> tuple[tuple[tuple[int, int], ...], ...]:
    """For each object, who drew it (position in `answers`) with which class. Cached."""
    return tuple(tuple((who, box.label) for who, box in each.items()) for each in groups(answers))


def _of_pair(pair: tuple[str, str], some: Sequence[_Objects], names: Mapping[int, str]) -> PairAgreement:
    return PairAgreement(
        annotators=pair,
        images=len(some),
        agreed=sum(_same(objects, 2) for objects in some) / len(some),
        kappa=measure_agreement([each for objects in some for each in objects], names, MOST_OBJECTS).kappa,
        f1=_mean(map(_f1, some)),
    )


def _same(objects: _Objects, people: int) -> bool:
    return all(len(each) == people and len(set(each.values())) == 1 for each in objects)


def _f1(objects: _Objects) -> float:
    """F1 of two people: boxes that both drew with the same class, divided by the mean number of boxes."""
    drawn = sum(map(len, objects))
    common = sum(len(each) == 2 and len(set(each.values())) == 1 for each in objects)
    return 2 * common / drawn if drawn else 1.0


def _mean(values: Iterable[float]) -> float | None:
    known = list(values)
    return sum(known) / len(known) if known else None
