"""The forecast of the curve and what random labels would have given, as sentences and as lines in the curve.

Pure functions of the trainer's evaluations; what they do not contain is not said here.
"""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import numpy as np
import pandas as pd

from labeler.progress.goal import learned_since
from labeler.ui.parts.palette import BOTH
from shared.figures import goal_metric, interval_in_words, many, percent, rounded
from shared.wire.evaluation import Advice, Evaluation, Needed, RandomEstimate
from shared.wire.project import ImageCounts

Curve = alt.LayerChart | alt.FacetChart
FORECAST = "forecast, 95% band"
RANDOM = "random labels (estimate)"


def sentences(evaluations: Sequence[Evaluation], train: ImageCounts, counted: str = "label") -> list[str]:
    """The advice of the latest evaluation, given the current counts of `train` images, and what choosing saved; [] if
    none. What people give is called `counted`."""
    latest = evaluations[-1]
    since = learned_since(latest, train)
    metric = goal_metric(latest)[0]
    advice = _advice(latest.advice, since, metric, train.unlabeled, f"{counted}s") if latest.advice is not None else []
    return [*advice, *_saved(latest.random_baseline, metric)]


def with_outlook(chart: Curve, evaluations: Sequence[Evaluation]) -> Curve:
    """`chart` (accuracy against labels) with the forecast and the random baseline, if there are any."""
    frame = _lines(evaluations)
    if frame.empty:
        return chart
    styles = {FORECAST: ([6, 4], BOTH[0]), RANDOM: ([1, 0], BOTH[1])}
    names = [each for each in styles if (frame["line"] == each).any()]
    dashes, colours = zip(*(styles[each] for each in names), strict=True)
    legend = alt.Legend(orient="bottom-right", title=None, symbolType="stroke", symbolStrokeWidth=2)
    base = alt.Chart(frame).encode(x="labels:Q")
    line = base.mark_line(clip=True).encode(
        y="accuracy:Q",
        color=alt.Color("line:N", scale=alt.Scale(domain=names, range=colours), legend=legend),
        strokeDash=alt.StrokeDash("line:N", scale=alt.Scale(domain=names, range=dashes), legend=legend),
        tooltip=[
            "line:N",
            "labels:Q",
            *(alt.Tooltip(f"{each}:Q", format=".1%") for each in ("accuracy", "low", "high")),
        ],
    )
    if FORECAST in names:
        ahead = base.transform_filter(alt.datum.line == FORECAST)
        chart += ahead.mark_area(opacity=0.15, clip=True, color=BOTH[0]).encode(y="low:Q", y2="high:Q")
    drawn: Curve = chart + line
    return drawn


def _advice(advice: Advice, since: int, metric: str, left: int, labels: str) -> list[str]:
    said = []
    if advice.stable and advice.agreement is not None:
        kappa = rounded(advice.agreement, 3)
        said.append(f"The last models agree on nearly every image (kappa {kappa}): more {labels} change little.")
    if advice.slope is not None:
        points = rounded(100 * advice.slope, 1)
        gained = f"a hundred more {labels} gain about {points} points of {metric}"
        if float(points) <= 0:
            gained = f"more {labels} gain nothing"
        said.append(f"The curve is flat: {gained}." if advice.flat else f"At the current slope, {gained}.")
    if advice.needed is not None:
        said.append(_needed(advice.needed, since, labels) + _shortfall(advice.needed, since, left))
    return said


def _needed(needed: Needed, since: int, counted: str) -> str:
    """Subtracts the labels learned `since` the forecast, like `labeler.progress.goal` does for the card."""
    goal = f"to reach **{percent(needed.goal, 1)}**"
    if needed.labels is None:
        return f"More than {max(0, needed.low - since):,} more {counted} {goal}, if the curve ever gets there."
    labels, low = max(0, needed.labels - since), max(0, needed.low - since)
    if not labels:
        return f"The {counted} forecast {goal} are there: the next evaluation shows whether they suffice."
    if needed.high is not None:
        between = f"{low:,}–{max(labels, needed.high - since):,}"
    else:
        between = f"at least {low:,}" if low else "the test sample is too small for bounds"
    return f"About **{labels:,} more {counted}** ({between}) {goal}, if the curve continues like this."


def _shortfall(needed: Needed, since: int, left: int) -> str:
    """What to add if fewer train images are `left` than labels are needed."""
    labels = needed.low if needed.labels is None else needed.labels
    if labels - since <= left:
        return ""
    others = f"Only {many(left, 'training image')} {'has' if left == 1 else 'have'} no label yet"
    count = others if left else "No training image is left"
    return f" {count}: add photos to get there."


def _saved(baseline: Sequence[RandomEstimate], metric: str) -> list[str]:
    """Random labels compared with the same number of chosen ones, if there is such a pair."""
    of = "" if metric == "accuracy" else f" {metric}"
    return [
        f"**{each.labels:,} random labels would have given about {percent(each.accuracy.value, 1)}{of}** (estimated "
        f"from the test sample, {interval_in_words(each.accuracy)}). The first {each.labels:,} labels given here give "
        f"**{percent(each.chosen.value, 1)}** ({interval_in_words(each.chosen)})."
        for each in baseline
        if each.chosen is not None
    ]


def _lines(evaluations: Sequence[Evaluation]) -> pd.DataFrame:
    """Both lines, against all labels given: the forecast as if no more test labels came, the baseline as they came."""
    latest = evaluations[-1]
    ahead = latest.advice.forecast if latest.advice is not None else []
    course = np.array(sorted({(0, 0), *((each.labels, each.spent) for each in evaluations)}))
    rows = [
        (FORECAST, latest.spent + each.labels - latest.labels, each.accuracy, each.low, each.high) for each in ahead
    ]
    for each in latest.random_baseline:
        if each.labels <= latest.labels:
            spent = float(np.interp(each.labels, course[:, 0], course[:, 1]))
            rows.append((RANDOM, round(spent), each.accuracy.value, each.accuracy.low, each.accuracy.high))
    return pd.DataFrame(rows, columns=["line", "labels", "accuracy", "low", "high"])
