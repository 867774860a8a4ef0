"""Tables of the command line with long names, at 80 columns."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from commands.models.saved_versions import show_comparison, show_list
from commands.tables import Listing
from shared.wire.evaluation import Interval
from shared.wire.models import ModelList, ModelVersion
from tests.shared.test_figures import compared, evaluation
from tests.trainer.descriptions import description

STOP = "stop-20261126T182233123456"


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def version(name: str, architecture: str) -> ModelVersion:
    measured = evaluation(180).model_copy(update={"accuracy": Interval(value=0.97, low=0.95, high=0.98, n=180)})
    given = description(architecture=architecture, labels=1_234_567, metrics=measured).model_dump()
    saved = {"version": name, "saved_at": datetime(2026, 11, 26, 18, 22, tzinfo=UTC), "sha256": ""}
    return ModelVersion.model_validate({**given, **saved, "parameters": 1, "bytes": 88_000_000})


def test_names_of_versions_stay_whole_or_end_with_an_ellipsis(capsys: pytest.CaptureFixture[str]) -> None:
    long = "a-name-that-somebody-chose-and-that-is-far-too-long-for-any-terminal"
    show_list(ModelList(models=[version(STOP, "vit_small_patch14_dinov2.lvd142m"), version(long, "pixels")]))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    cells = [cell.strip() for line in lines for cell in line.split("│")]
    for whole in (STOP, "1,234,567", "97.0%", "95.0% – 98.0%", "180 test images", "2026-11-26 18:22"):
        assert whole in cells
    (cut,) = [cell for cell in cells if cell.startswith("a-name")]
    assert long.startswith(cut.removesuffix("…"))
    assert cut.endswith("…")


def test_a_comparison_names_both_versions_whole(capsys: pytest.CaptureFixture[str]) -> None:
    found = compared(100, 3, 1, 0.6)
    found = found.model_copy(update={"base": found.base.model_copy(update={"version": STOP + "-and-more-of-it"})})
    show_comparison(found)
    shown = capsys.readouterr().out
    assert f"base: {STOP}-and-more-of-it\ncandidate: new\n" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_narrow_tables_shorten_words_before_names_and_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    table = Listing({"job": "name", "started": "number", "": "words"})
    table.add_row("train-0123456789abcdef0123456789", "2026-11-26 18:22", "so many words " * 9)
    from rich.console import Console

    Console().print(table)
    cells = [cell.strip() for line in capsys.readouterr().out.splitlines() for cell in line.split("│")]
    assert {"train-0123456789abcdef0123456789", "2026-11-26 18:22"} <= set(cells)
    assert " ".join(cells).count("words") == 9


def test_without_versions_the_list_says_how_to_save_one(capsys: pytest.CaptureFixture[str]) -> None:
    show_list(ModelList(models=[]))
    assert capsys.readouterr().out == "No version is saved yet. `flywheel models save NAME` saves one.\n"
