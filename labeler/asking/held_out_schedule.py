"""When the queue asks about a held-out image: a pure function of how much was asked so far.

No test image comes in the first labels, which should teach; then a fixed share, so that the interval shrinks quickly,
and a smaller one later (see config/labeler.toml for the figures). The number due depends on nothing but the count of
images asked, hence the share holds at every prefix and whoever labels cannot tell which image is next.
"""

from __future__ import annotations

from shared.settings.services import LabelerSettings

VALIDATION_ENOUGH = 200
"""Validation labels from which on the trainer can choose between models by them."""


def due_test_images(asked: int, settings: LabelerSettings) -> int:
    """Test images among the first `asked` images."""
    after = max(0, asked - settings.test_free_labels)
    first = min(settings.test_first_count, settings.test_enough)
    due = _floor(after * settings.test_first_share)
    if due < first:
        return due
    spent = first / settings.test_first_share if settings.test_first_share else 0.0
    return min(settings.test_enough, first + _floor(max(0.0, after - spent) * settings.test_later_share))


def due_validation_images(asked: int, share: float, settings: LabelerSettings) -> int:
    """Validation images among the first `asked` images; `share` is that of the validation split."""
    return min(VALIDATION_ENOUGH, _floor(max(0, asked - settings.test_free_labels) * share))


def _floor(value: float) -> int:
    return int(value + 1e-9)  # 10 × 0.1 must be 1, whatever the floating point says
