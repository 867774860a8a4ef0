"""The estimated duration of a round, and the remaining time."""

import os

import numpy as np
import pytest

from trainer.jobs.challenge_cost import Pace, few_threads, seconds_of_round, seconds_per_image


class Clock:
    """A clock that is set by hand."""

    now = 0.0

    def __call__(self):
        return self.now


class Network:
    """Embeds an image in a second of its own clock."""

    input_size = 8
    looks = 1

    def embed(self, batch):
        return np.zeros((len(batch), 2), np.float32)


def test_a_round_costs_in_proportion_to_the_speed_of_the_network():
    one = seconds_of_round(1_000, 3, 5_000, per_image=0.001)
    assert seconds_of_round(1_000, 3, 5_000, per_image=0.002) == 2 * one
    assert seconds_of_round(1_000, 0, 5_000, per_image=0.001) < one  # one training instead of four
    assert seconds_of_round(1_000, 3, 50_000, per_image=0.001) > one  # more to embed again
    assert seconds_of_round(10_000, 3, 5_000, per_image=0.001) > one
    assert 0 <= seconds_per_image(Network()) < 60


@pytest.mark.parametrize(("cores", "threads"), [(None, 1), (1, 1), (2, 1), (7, 3), (16, 8)])
def test_half_of_the_cores_are_enough(monkeypatch, cores, threads):
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert few_threads() == threads


def test_the_time_left_does_not_count_a_pause():
    clock = Clock()
    pace = Pace(clock)
    assert pace.left(9) is None
    for _ in range(5):
        clock.now += 2.0
        pace.left(9)
    clock.now += 3_600.0  # halted meanwhile
    assert pace.left(10) == 20.0
