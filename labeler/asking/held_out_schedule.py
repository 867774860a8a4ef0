"""Decides when the queue asks about a held-out image: a pure function of the number of images asked so far.

The first labels are for training and include no test images. Then test images come at a fixed share, so that the
interval shrinks quickly, and later at a smaller one (see config/labeler.toml for the values). The number due depends
only on the number of images asked, so the share holds at every point, and annotators cannot tell which image is next.
"""

from __future__ import annotations

from shared.settings.services import LabelerSettings

VALIDATION_ENOUGH = 200
"""Number of validation labels with which the trainer can choose between models."""


def due_test_images(asked: int, settings: LabelerSettings) -> int:
    """Number of test images among the first `asked` images."""
    after = max(0, asked - settings.test_free_labels)
    first = min(settings.test_first_count, settings.test_enough)
    due = _floor(after * settings.test_first_share)
    if due < first:
        return due
    spent = first / settings.test_first_share if settings.test_first_share else 0.0
    return min(settings.test_enough, first + _floor(max(0.0, after - spent) * settings.test_later_share))


def due_validation_images(asked: int, share: float, settings: LabelerSettings) -> int:
    """Number of validation images among the first `asked` images; `share` is the share of the validation split."""
    return min(VALIDATION_ENOUGH, _floor(max(0, asked - settings.test_free_labels) * share))


def _floor(value: float) -> int:
    return int(value + 1e-9)  # 10 × 0.1 must be 1 despite floating-point errors
