"""BALD: disagreement of a committee of heads, each fitted on the same labels with different weights."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trainer.learners.kernel_head import fit_head
from trainer.strategies.geometry import scored
from trainer.strategies.random_sampling import random
from trainer.strategies.ranking import Floats, Pool, Ranking, highest, shortlist
from trainer.strategies.uncertainty import entropy_scores

MEMBERS = 5
LABELS = 1_000  # labels per member; beyond that, a random sample
CANDIDATES = 10_000


def bald(pool: Pool, count: int) -> Ranking:
    """Rank by mutual information between answer and model, highest first (Houlsby et al. 2011, BALD).

    The best images by score alone are copies of one another (on digits 78 % at 100 labels, far below random). So the
    order is drawn with odds in proportion to the information (Kirsch et al. 2023, PowerBALD); the scores are the drawn
    odds. The committee is a Bayesian bootstrap (Rubin 1981): every label counts in every member, with a random weight,
    so that no class ever drops out. The order is random until there are labels of two classes.
    """
    labeled = pool.labeled
    if pool.probabilities is None or len(np.unique(pool.labels[labeled])) < 2:
        return random(pool, count)
    draw = np.random.default_rng(pool.seed)
    if len(labeled) > LABELS:
        labeled = np.sort(draw.choice(labeled, LABELS, replace=False))
    rows = shortlist(pool, scored(pool, entropy_scores), max(CANDIDATES, 2 * count))
    opinions = []
    for _ in range(MEMBERS):
        weights = draw.exponential(size=len(labeled))
        head = fit_head(pool.embeddings[labeled], pool.labels[labeled], weights=weights / weights.mean())
        opinions.append(head.predict_proba(pool.embeddings[rows]))
    odds = np.maximum(mutual_information(np.stack(opinions)), 1e-9)
    luck = -1.0 / np.log(pool.tie_breakers()[rows].clip(1e-12))  # exp(Gumbel noise), fixed for each row
    picked, scores = highest(pool, odds * luck, count, rows)
    return Ranking(picked, scores, ["models fitted on the same labels disagree"] * len(picked))


def mutual_information(opinions: NDArray[np.float32] | Floats) -> Floats:
    """Entropy of the mean minus mean entropy, in nats (n,), for opinions (members, n, K); 0 where all agree."""
    exact = np.asarray(opinions, dtype=np.float64)
    agreed: Floats = np.mean([entropy_scores(p) for p in exact], axis=0)
    return np.maximum(entropy_scores(exact.mean(axis=0)) - agreed, 0.0)
