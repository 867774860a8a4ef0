"""What the page Models says of the challenger, from nothing known to a take-over."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from streamlit.testing.v1 import AppTest

from shared.wire.evaluation import Interval
from shared.wire.trainer import ChallengerRound, ChallengerView


def script() -> None:
    from labeler.ui.sections import challenger

    challenger.show()


def drawn(monkeypatch: pytest.MonkeyPatch, view: ChallengerView | None) -> str:
    status = SimpleNamespace(challenger=view)
    labeler = SimpleNamespace(
        trainer=SimpleNamespace(status=lambda: status), state=SimpleNamespace(change_markers=lambda: {"challenger": ""})
    )
    monkeypatch.setattr("labeler.service.current", lambda: labeler)
    page = AppTest.from_function(script, default_timeout=60).run()
    assert not page.exception
    bars = [each.proto.text for each in page.get("progress")]
    return " ".join([*bars, *(each.value for each in page.markdown)]).replace("\\", "")  # as Markdown shows it


def last(*, better: bool) -> ChallengerRound:
    def share(value: float) -> Interval:
        return Interval(value=value, low=value - 0.05, high=value + 0.05, n=90)

    return ChallengerRound(
        round=2,
        labels=90,
        ground="out of fold",
        accuracy=share(0.9),
        head=share(0.7),
        gain=share(0.2),
        p=0.002,
        better=better,
        notes=["Memory ran out, so the batch was reduced to 16 images."],
    )


def test_nothing_is_said_of_a_trainer_that_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert drawn(monkeypatch, None) == ""


AIM = "It replaces the live model only if it is significantly better on 341 validation images (p < 0.01)"


def test_a_round_at_work_shows_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    view = ChallengerView(state="training", message="Round 2: fold 1 of 3, epoch 4 of 21", round=2, done=40, total=400)
    view = view.model_copy(update={"seconds_left": 130.0, "aim": AIM})
    words = drawn(monkeypatch, view)
    assert "Round 2: fold 1 of 3, epoch 4 of 21, about 2 min left" in words
    assert f"{AIM}." in words


def test_a_page_says_why_no_round_has_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    why = "the next round begins when nobody has labeled for 10 s"
    words = drawn(monkeypatch, ChallengerView(state="waiting", message=why, aim=AIM))
    assert "The next round begins when nobody has labeled for 10 s." in words
    assert f"{AIM}." in words


@pytest.mark.parametrize(
    ("better", "serving", "said"),
    [
        (True, "challenger-2", ("replaced the model", "Questions come from the embeddings of **challenger-2**")),
        (False, None, ("the head stays",)),
    ],
)
def test_the_outcome_of_a_round_is_shown(
    monkeypatch: pytest.MonkeyPatch, better: bool, serving: str | None, said: tuple[str, ...]
) -> None:
    view = ChallengerView(state="waiting", message="waits", round=2, last=last(better=better), serving=serving)
    words = drawn(monkeypatch, view)
    for part in (*said, "Waits.", "90.0%", "against the head's 70.0%", "p = 0.002", "reduced to 16 images"):
        assert part in words
