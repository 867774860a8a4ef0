"""An import of boxes is one operation, too: its division into posts, a dry run and a repetition change nothing."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from labeler.service import Service
from shared.wire.imports import ImportRow
from tests.labeler.projects import answer, boxes, labeler, photo
from tests.labeler.transfer.test_import_plan import parts

NAMES = ("cat", "dog", "Dog", "owl")
PLACES = ((1, 1, 20, 20), (2, 1, 20, 20), (30, 10, 20, 30), (60, 40, 30, 30), (70, 1, 5, 5), (5, 5, 0.2, 9))
"""One, about the same, another, one partly outside, one outside, one that is too small."""


@st.composite
def files(draw: st.DrawFn) -> list[ImportRow]:
    """Rows of a file that may contradict itself, and has boxes that cannot be."""
    box = st.tuples(st.sampled_from(NAMES), st.sampled_from(PLACES))
    given = st.tuples(
        st.integers(0, 5),
        st.none() | st.lists(box, max_size=3),
        st.sampled_from(["pixel", "share"]),
        st.sampled_from([None, "ann", "bob"]),
        st.sampled_from([None, "train"]),
    )
    rows = []
    for line, (number, some, unit, annotator, split) in enumerate(draw(st.lists(given, max_size=12))):
        said: dict[str, Any] = {"action": "skip"}
        if some is not None:
            by = (1, 1) if unit == "pixel" else (64, 48)
            named = [
                {"label": name, "x": x / by[0], "y": y / by[1], "w": w / by[0], "h": h / by[1]}
                for name, (x, y, w, h) in some
            ]
            said = {"answer": {"boxes": named, "unit": unit}}
        more = {"line": line, "uri": f"{number:04d}.png", "annotator": annotator, "split": split}
        rows.append(ImportRow.model_validate_json(json.dumps(said | more)))
    return rows


def state(service: Service) -> dict[str, Any]:
    """What an import may change."""
    fold = service.log.fold

    def named(value: Any) -> Any:
        return None if value is None else [(fold.name_of(box.label), *box[1:]) for box in value.boxes]

    return {
        "said": {
            image: sorted((who, action, str(named(value))) for who, (action, value) in fold.answers(image).items())
            for image in fold.images
        },
        "ends": {image: (each.status, named(each.label)) for image, each in fold.images.items()},
        "classes": [each.name for each in service.classes.entries()],
        "counts": service.progress().labels_per_class,
    }


@settings(max_examples=12, deadline=None)
@given(
    files(),
    st.lists(st.integers(0, 12), max_size=3),
    st.sampled_from(["keep", "overwrite", "review"]),
    st.booleans(),
)
def test_where_posts_end_changes_nothing_and_neither_does_a_dry_run(
    rows: list[ImportRow], cuts: list[int], conflicts: Any, add_classes: bool
) -> None:
    choices = {"conflicts": conflicts, "add_classes": add_classes}
    ends = []
    for edges in ([], cuts, range(len(rows))):
        with TemporaryDirectory() as folder:
            for number in range(5):
                photo(Path(folder) / "photos" / f"{number:04d}.png", number, (64, 48))
            with labeler(Path(folder), task="detection", classes=["cat", "dog"]) as service:
                service.annotate([boxes(3, ("dog", 1, 1, 20, 20)), boxes(4), answer(2, None, action="skip")])
                service.annotate([boxes(4, ("cat", 30, 10, 20, 30), action="settle")])
                looked = [parts(service, rows, each, dry_run=True, **choices) for each in ([], cuts)]
                done = parts(service, rows, edges, **choices)
                assert [done, done] == looked
                ends.append(state(service))
                last, end = service.log.last_seq, state(service)
                assert parts(service, rows, cuts, **choices).labels == 0, "again changes nothing"
                assert (service.log.last_seq, state(service)) == (last, end)
    assert ends[0] == ends[1] == ends[2]
