"""Query strategies: which images to ask about, and in which order.

`strategy_named` finds one by its name in `STRATEGIES`, or by the dotted path of your own function; docs/strategies.md
says when to use which and shows how to write one.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

import numpy as np

from trainer.strategies.chance import random
from trainer.strategies.exploration import with_exploration
from trainer.strategies.herding import maxherding, uncertainty_herding
from trainer.strategies.ranking import Pool, Ranking, Strategy
from trainer.strategies.uncertainty import entropy, least_confidence, margin, ratio

__all__ = ["STRATEGIES", "Pool", "Ranking", "Registered", "Strategy", "strategy_named", "with_exploration"]


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
    "random": Registered(random, "As a baseline, or where the labels must be a fair sample of the pool."),
}


def strategy_named(name: str) -> Strategy:
    """The strategy of that name, or the function at a dotted path `package.module:function`.

    What a function of your own returns is checked at every call. Raises ValueError with one sentence when nothing
    goes by the name or the path leads to no function.
    """
    if name in STRATEGIES:
        return STRATEGIES[name].strategy
    if ":" not in name:
        raise ValueError(
            f"There is no query strategy {name!r}; there are {', '.join(STRATEGIES)}, or package.module:function."
        )
    path, _, attribute = name.partition(":")
    try:
        function = getattr(import_module(path), attribute)
    except (ImportError, ValueError, AttributeError) as error:
        raise ValueError(f"The query strategy {name!r} cannot be loaded: {error}.") from None
    if not callable(function):
        raise ValueError(f"The query strategy {name!r} is no function.")  # noqa: TRY004
    return _checked(name, function)


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
