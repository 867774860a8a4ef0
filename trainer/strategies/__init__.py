"""Query strategies: which images to ask about, and in which order.

`strategy_named` finds a strategy by its name in `STRATEGIES`, or by the dotted path of a function of your own.
docs/guides/strategies.md says when to use which strategy and shows how to write one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shared.own_code import own_function
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
    """A named strategy, and one sentence on when to use it."""

    strategy: Strategy
    when: str
    several: bool = False
    """Whether it works where an image can have several classes."""
    boxes: str | None = None
    """When to use it where an image has boxes instead of classes; None: it needs the probabilities of classes."""


STRATEGIES: dict[str, Registered] = {
    "uncertainty_herding": Registered(
        uncertainty_herding,
        "The default: covers the pool first and turns to uncertain images as labels come in.",
        several=True,
        boxes="The default: covers the pool evenly. It does not use the detector.",
    ),
    "maxherding": Registered(
        maxherding,
        "For an even overview of the whole pool; ignores the model.",
        several=True,
        boxes="For an even overview of the whole pool.",
    ),
    "margin": Registered(margin, "From a few hundred labels on, when some classes are hard to tell apart."),
    "least_confidence": Registered(least_confidence, "Like margin, but also asks about images that resemble no class."),
    "ratio": Registered(ratio, "Like margin, with more weight on images that the model knows little about."),
    "entropy": Registered(
        entropy, "When many classes are confused with one another; poor with few labels.", several=True
    ),
    "bald": Registered(
        bald, "When some classes are harder to learn: asks where models fitted on the same labels disagree."
    ),
    "badge": Registered(badge, "From about a hundred labels on: uncertain and diverse, good in large batches."),
    "coreset": Registered(
        coreset,
        "To label every region of the pool, outliers included.",
        several=True,
        boxes="To label every region of the pool, outliers included.",
    ),
    "typiclust": Registered(
        typiclust,
        "For the first few dozen labels: one typical image of each group.",
        several=True,
        boxes="For the first few dozen labels: one typical image of each group.",
    ),
    "probcover": Registered(
        probcover,
        "For the first few dozen labels: covers as many images as possible, outliers last.",
        several=True,
        boxes="For the first few dozen labels: covers as many images as possible, outliers last.",
    ),
    "cluster_margin": Registered(
        cluster_margin, "Like margin, spread over groups of similar images; good in large batches."
    ),
    "representative": Registered(
        representative,
        "To label the most central image of every group of similar images.",
        several=True,
        boxes="To label the most central image of every group of similar images.",
    ),
    "outlier": Registered(
        outlier,
        "To find images unlike all others: damaged, odd, or of a missing class.",
        several=True,
        boxes="To find images unlike all others, such as damaged or odd ones.",
    ),
    "model_outlier": Registered(model_outlier, "To find images that fit none of the known classes."),
    "class_balanced": Registered(
        class_balanced,
        "When a class is rare, or dozens of classes differ in size: asks about images of classes with few labels.",
    ),
    "confidence_bands": Registered(confidence_bands, "To check images at every level of the model's confidence."),
    "mixture": Registered(
        mixture({random: 0.1, least_confidence: 0.8, outlier: 0.1}),
        "10 % random, 80 % least confident, 10 % outliers. Write your own, such as 0.5 margin + 0.5 typiclust.",
    ),
    "random": Registered(
        random,
        "As a baseline, or when the labels must be a fair sample of the pool.",
        several=True,
        boxes="As a baseline, or when the labels must be a fair sample of the pool.",
    ),
}


def strategy_named(name: str, *, several: bool = False, boxes: bool = False) -> Strategy:
    """Return a strategy by its name, as a mixture such as `0.9 margin + 0.1 outlier`, or as `package.module:function`.

    The result of your own function is checked at every call. Raises ValueError, with one sentence, if the name is
    unknown or the path does not lead to a function. With `several`, it is also raised if the strategy needs images with
    one class; with `boxes`, if it needs class probabilities.
    """
    if name in STRATEGIES:
        if boxes and STRATEGIES[name].boxes is None:
            working = ", ".join(each for each, registered in STRATEGIES.items() if registered.boxes is not None)
            raise ValueError(
                f"The query strategy {name!r} needs the probabilities of classes, which an image with boxes does not "
                f"have. In a detection project, choose one of {working}."
            )
        if several and not STRATEGIES[name].several:
            working = ", ".join(each for each, registered in STRATEGIES.items() if registered.several)
            raise ValueError(
                f"The query strategy {name!r} needs images with exactly one class. In a multi-label project, choose "
                f"one of {working}."
            )
        return STRATEGIES[name].strategy
    if "+" in name:
        return _mixture_named(name, several=several, boxes=boxes)
    if ":" not in name:
        known = ", ".join(STRATEGIES)
        raise ValueError(
            f"There is no query strategy {name!r}. Choose one of {known}, or name a package.module:function."
        )
    try:
        function = own_function(name)
    except (ImportError, ValueError, AttributeError) as error:
        raise ValueError(f"The query strategy {name!r} cannot be loaded: {error}.") from None
    if not callable(function):
        raise ValueError(f"The query strategy {name!r} is not a function.")  # noqa: TRY004
    return _checked(name, function)


def _mixture_named(name: str, *, several: bool, boxes: bool) -> Strategy:
    shares: dict[Strategy, float] = {}
    for part in name.split("+"):
        share, _, strategy = part.strip().partition(" ")
        try:
            shares[strategy_named(strategy.strip(), several=several, boxes=boxes)] = float(share)
        except ValueError as error:
            raise ValueError(f"The mixture {name!r} is not valid: {error}") from None
    return mixture(shares)


def _checked(name: str, function: Strategy) -> Strategy:
    """Wrap `function`: raise ValueError when it does not return a valid ranking of the candidates."""

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
