"""Query strategies: which images to ask about, and in which order.

`strategy_named` finds one by its name in `STRATEGIES`, or by the dotted path of your own function;
docs/guides/strategies.md says when to use which and shows how to write one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pkgutil import resolve_name

import numpy as np

from trainer.strategies.balance import class_balanced
from trainer.strategies.committee import bald
from trainer.strategies.coverage import coreset, probcover
from trainer.strategies.gradients import badge
from trainer.strategies.groups import cluster_margin, representative, typiclust
from trainer.strategies.herding import maxherding, uncertainty_herding
from trainer.strategies.mixture import confidence_bands, mixture
from trainer.strategies.outliers import model_outlier, outlier
from trainer.strategies.random_sampling import random, with_exploration
from trainer.strategies.ranking import Pool, Ranking, Strategy
from trainer.strategies.uncertainty import entropy, least_confidence, margin, ratio

__all__ = ["STRATEGIES", "Pool", "Ranking", "Registered", "Strategy", "mixture", "strategy_named", "with_exploration"]


@dataclass(frozen=True)
class Registered:
    """A strategy that goes by a name, and one sentence on when to use it."""

    strategy: Strategy
    when: str


STRATEGIES: dict[str, Registered] = {
    "uncertainty_herding": Registered(
        uncertainty_herding,
        "The default: covers the pool first and leans to what the model is unsure of as labels come.",
    ),
    "maxherding": Registered(maxherding, "For an even overview of the whole pool, whatever the model thinks."),
    "margin": Registered(margin, "From a few hundred labels on, where two classes are hard to tell apart."),
    "least_confidence": Registered(least_confidence, "Like margin, but also asks what resembles no class at all."),
    "ratio": Registered(ratio, "Like margin, with more weight on images of which the model knows little."),
    "entropy": Registered(entropy, "Where many classes are mixed up with one another; poor with few labels."),
    "bald": Registered(bald, "Where models of the same labels disagree; for classes that are learned unevenly."),
    "badge": Registered(badge, "From about a hundred labels on: uncertain and diverse, good in large batches."),
    "coreset": Registered(coreset, "To leave no corner of the pool without a label, outliers included."),
    "typiclust": Registered(typiclust, "For the first tens of labels: one typical image of each group."),
    "probcover": Registered(probcover, "For the first tens of labels: covers as many images as it can, outliers last."),
    "cluster_margin": Registered(cluster_margin, "Like margin, spread over groups; good in large batches."),
    "representative": Registered(representative, "To see the centre of every group of similar images."),
    "outlier": Registered(
        outlier, "To find images that are unlike all others: damaged, odd, or of a class not thought of."
    ),
    "model_outlier": Registered(model_outlier, "To find images that fit none of the classes that the model knows."),
    "class_balanced": Registered(class_balanced, "Where a class is rare: asks for what may belong to it."),
    "confidence_bands": Registered(confidence_bands, "To see what the model is sure of as much as what it is not."),
    "mixture": Registered(
        mixture({random: 0.1, least_confidence: 0.8, outlier: 0.1}),
        "A tenth random, eight tenths least confident, a tenth outliers; write your own as 0.5 margin + 0.5 typiclust.",
    ),
    "random": Registered(random, "As a baseline, or where the labels must be a fair sample of the pool."),
}


def strategy_named(name: str) -> Strategy:
    """The strategy of that name, a mixture such as `0.9 margin + 0.1 outlier`, or a function `package.module:function`.

    What a function of your own returns is checked at every call. Raises ValueError with one sentence when nothing goes
    by the name or the path leads to no function.
    """
    if name in STRATEGIES:
        return STRATEGIES[name].strategy
    if "+" in name:
        return _mixture_named(name)
    if ":" not in name:
        known = ", ".join(STRATEGIES)
        raise ValueError(f"There is no query strategy {name!r}; there are {known}, or package.module:function.")
    try:
        function = resolve_name(name)
    except (ImportError, ValueError, AttributeError) as error:
        raise ValueError(f"The query strategy {name!r} cannot be loaded: {error}.") from None
    if not callable(function):
        raise ValueError(f"The query strategy {name!r} is no function.")  # noqa: TRY004
    return _checked(name, function)


def _mixture_named(name: str) -> Strategy:
    shares: dict[Strategy, float] = {}
    for part in name.split("+"):
        share, _, strategy = part.strip().partition(" ")
        try:
            shares[strategy_named(strategy.strip())] = float(share)
        except ValueError as error:
            raise ValueError(f"The mixture {name!r} cannot be: {error}") from None
    return mixture(shares)


def _checked(name: str, function: Strategy) -> Strategy:
    """`function`, refusing what is no ranking of the candidates."""

    def checked(pool: Pool, count: int) -> Ranking:
        ranking = function(pool, count)
        if not isinstance(ranking, Ranking):
            raise ValueError(f"The query strategy {name!r} returned {type(ranking).__name__}, not a Ranking.")  # noqa: TRY004
        rows, scores = np.asarray(ranking.rows), np.asarray(ranking.scores, dtype=np.float64)
        if not len(rows) == len(scores) == len(ranking.reasons):
            raise ValueError(f"The query strategy {name!r} returned rows, scores and reasons of different lengths.")
        if len(rows) and not np.issubdtype(rows.dtype, np.integer):
            raise ValueError(f"The query strategy {name!r} returned rows that are not integers.")
        if not np.isin(rows, pool.candidates).all():
            raise ValueError(f"The query strategy {name!r} returned rows that are not candidates.")
        if len(np.unique(rows)) < len(rows):
            raise ValueError(f"The query strategy {name!r} returned a row twice.")
        if not np.isfinite(scores).all():
            raise ValueError(f"The query strategy {name!r} returned scores that are not finite.")
        return Ranking(rows[:count].astype(np.int64), scores[:count], list(ranking.reasons[:count]))

    return checked
