"""The clock of an active test: its probabilities are right, so that weighted answers are unbiased."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labeler.asking.test_clock import TestClock

IMAGES, ASKED, RUNS = 12, 5, 4_000
positive = st.floats(0.3, 3.0)


def asked(clock: TestClock, places: list[float], steps: list[tuple[dict[int, float], int]]) -> dict[int, float]:
    """The images that come while these rates hold for so many each, with the chances with which they came."""
    waiting, taken, last, now = set(range(len(places))), [], 0.0, 0.0
    for rates, count in steps:
        clock.set_rates(rates, range(len(places)), last)
        line = sorted((clock.due(image, places[image]), image) for image in waiting)
        taken += [image for _, image in line[:count]]
        waiting.difference_update(taken)
        last = line[count - 1][0]
        now = line[count][0] if len(line) > count else math.inf
    return {image: clock.chance(image, now) for image in taken}


@settings(max_examples=8, deadline=None)
@given(st.lists(positive, min_size=IMAGES, max_size=IMAGES), st.integers(0, 2**IMAGES - 1), st.integers(0, 1_000))
def test_answers_divided_by_their_chances_add_up_to_the_number_of_right_ones(
    rates: list[float], bits: int, seed: int
) -> None:
    """Without bias, over all draws of the places, whatever the rates are and which images are right."""
    right = [bool(bits >> image & 1) for image in range(IMAGES)]
    rng = np.random.default_rng(seed)
    totals = []
    for _ in range(RUNS):
        found = asked(TestClock(1.0), rng.random(IMAGES).tolist(), [(dict(enumerate(rates)), ASKED)])
        totals.append(sum(right[image] / chance for image, chance in found.items()))
    error = float(np.std(totals)) / math.sqrt(RUNS)
    assert abs(np.mean(totals) - sum(right)) <= 5 * error + 1e-9


@settings(max_examples=5, deadline=None)
@given(st.lists(positive, min_size=60, max_size=60), st.lists(positive, min_size=60, max_size=60), st.integers(0, 99))
def test_rates_that_change_meanwhile_bias_little(before: list[float], after: list[float], seed: int) -> None:
    """The weighted share of images with a low first and a high second rate is the true one, within a point."""
    right = [first < second for first, second in zip(before, after, strict=True)]
    rng, shares = np.random.default_rng(seed), []
    for _ in range(RUNS):
        steps = [(dict(enumerate(before)), 10), (dict(enumerate(after)), 10)]
        found = asked(TestClock(1.0), rng.random(60).tolist(), steps)
        shares.append(np.average([right[image] for image in found], weights=[1 / chance for chance in found.values()]))
    assert abs(np.mean(shares) - np.mean(right)) <= 0.015


@given(st.lists(st.floats(0, 0.0999), min_size=1, max_size=20, unique=True))
def test_equal_rates_are_the_order_of_the_places(places: list[float]) -> None:
    clock = TestClock(0.1)
    clock.set_rates({}, range(len(places)), 0.0)
    order = sorted(range(len(places)), key=lambda image: (clock.due(image, places[image]), places[image]))
    assert [places[image] for image in order] == sorted(places)


def test_it_is_the_same_after_a_restart_and_a_repeated_suggestion_changes_nothing() -> None:
    clock = TestClock(0.1)
    assert not clock.used
    clock.set_rates({1: 2.0, 2: 0.5}, [1, 2, 3], 0.4)
    clock.set_rates({1: 0.5}, [1, 2, 3], 0.9)
    again = TestClock(0.1, json.loads(json.dumps(clock.to_json())))
    again.set_rates({1: 0.5}, [1, 2, 3], 0.9)
    assert again.used
    for image in (1, 2, 3, 4):
        assert again.due(image, 0.07) == clock.due(image, 0.07)
        assert again.chance(image, 1.5) == clock.chance(image, 1.5)
    assert clock.chance(1, 1.5) == -math.expm1(-(0.4 + 2.0 * 0.5 + 0.5 * 0.6))
    assert clock.chance(4, 1.5) == -math.expm1(-1.5)  # an image that joined later: as if it had always been there
    assert clock.chance(1, math.inf) == 1


def test_an_image_that_was_away_has_the_chance_that_it_had() -> None:
    """Such as those of a disk that was unplugged while other rates were suggested."""
    clock = TestClock(1.0)
    clock.set_rates({1: 3.0, 2: 0.5}, [1, 2], 0.0)
    before = [clock.chance(image, 0.7) for image in (1, 2)]
    clock.set_rates({2: 2.0}, [2], 0.7)
    assert [clock.chance(image, 0.7) for image in (1, 2)] == pytest.approx(before)
