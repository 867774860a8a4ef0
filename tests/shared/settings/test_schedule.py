"""Shares by labels spent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.settings.schedule import read_steps, share_at


@pytest.mark.parametrize(
    ("labels", "share"),
    [(0, 0.0), (49, 0.0), (50, 0.2), (99, 0.2), (100, 0.1), (999, 0.1), (1_000, 0.05), (9_999, 0.05)],
)
def test_each_step_holds_until_the_next(labels, share):
    assert share_at("50:0.2,100:0.1, 1000:0.05", labels) == share


@given(st.floats(0, 1), st.integers(0, 10_000))
def test_a_number_holds_throughout(share, labels):
    assert share_at(share, labels) == share_at(f"0:{share}", labels) == share


@pytest.mark.parametrize("wrong", ["", "0.1", "0:x", "0:0.1,", "5:0.1, 5:0.2", "9:0.1, 5:0.2", "-1:0", "0:2", "0:nan"])
def test_an_invalid_schedule_is_refused(wrong):
    with pytest.raises(ValueError, match=r"^(must|has) "):
        read_steps(wrong)
