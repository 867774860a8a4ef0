from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from labeler.asking.held_out_schedule import VALIDATION_ENOUGH, due_test_images, due_validation_images
from shared.settings.services import LabelerSettings
from tests.labeler.projects import settings

DEFAULTS = settings(Path("unused"))
counts = st.integers(0, 6_000)


def changed(**values: float) -> LabelerSettings:
    return DEFAULTS.model_copy(update=values)


def test_the_documented_schedule() -> None:
    due = {asked: due_test_images(asked, DEFAULTS) for asked in (0, 20, 24, 25, 120, 520, 530, 3_520, 10_000)}
    assert due == {0: 0, 20: 0, 24: 0, 25: 1, 120: 20, 520: 100, 530: 101, 3_520: 400, 10_000: 400}


@given(counts, st.integers(0, 50), st.sampled_from([0.0, 0.1, 0.2, 0.3, 0.5, 0.9]), st.integers(0, 200))
def test_the_share_holds_at_every_prefix(asked: int, free: int, share: float, enough: int) -> None:
    chosen = changed(test_free_labels=free, test_first_share=share, test_later_share=share, test_enough=enough)
    due = due_test_images(asked, chosen)
    assert due <= min(enough, max(0, asked - free) * share + 1e-6)
    assert due == enough or due > max(0, asked - free) * share - 2
    assert due_test_images(asked + 1, chosen) - due in (0, 1)


@given(counts, st.sampled_from([0.0, 0.1, 0.25]))
def test_validation_images_come_at_their_share(asked: int, share: float) -> None:
    due = due_validation_images(asked, share, DEFAULTS)
    assert due <= min(VALIDATION_ENOUGH, max(0, asked - 20) * share + 1e-6)
    assert due_validation_images(asked + 1, share, DEFAULTS) - due in (0, 1)
