"""An import into a multi-label project is one operation, too, and its counts equal those from scratch."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from labeler.service import Service
from shared.wire.imports import ImportRow
from tests.labeler.projects import classes, labeler, photos
from tests.labeler.transfer.test_import_plan import parts

NAMES = ("cat", "dog", "Dog", "owl")


def rows_of(*said: tuple[Any, ...]) -> list[ImportRow]:
    """Rows of (number of the image, yes, no, rest, annotator, split)."""
    rows = []
    for line, (number, yes, no, rest, annotator, split) in enumerate(said):
        answer = {"yes": sorted(yes), "no": sorted(no), "rest": rest}
        given = {"answer": answer} if yes or no or rest else {"action": "skip"}
        more = {"line": line, "uri": f"{number:04d}.png", "annotator": annotator, "split": split}
        rows.append(ImportRow.model_validate_json(json.dumps(given | more)))
    return rows


@st.composite
def files(draw: st.DrawFn) -> list[ImportRow]:
    """Rows of a file that may contradict itself."""
    names = st.frozensets(st.sampled_from(NAMES), max_size=2)
    given = st.tuples(
        st.integers(0, 5),
        names,
        names,
        st.booleans(),
        st.sampled_from([None, "ann", "bob"]),
        st.sampled_from([None, "train"]),
    )
    return rows_of(*draw(st.lists(given, max_size=12)))


def test_a_row_that_overrules_a_settled_image_changes_only_its_classes(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 5)
    with labeler(tmp_path, task="multilabel", classes=["cat", "dog"]) as service:
        service.annotate([classes(4, ["dog"], ["cat"])])  # by ann, who was wrong
        service.annotate([classes(4, ["cat"], ["dog"], action="settle")])
        parts(service, rows_of((3, {}, {"cat"}, False, "ann", None)), [], conflicts="overwrite")
        assert state(service)["ends"][4] == ("labeled", [[], ["cat", "dog"]])


def state(service: Service) -> dict[str, Any]:
    """What an import may change."""
    fold = service.log.fold

    def named(value: Any) -> Any:
        if value is None:
            return None
        return [sorted(map(fold.name_of, side)) for side in (value.yes, value.no)]

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
@example(  # a row that says less than the image's settled label, then one that says more
    rows_of((3, {"cat"}, {}, False, None, None), (3, {"cat", "dog"}, {}, False, None, "train")), [], "overwrite", False
)
@example(  # what was settled counts, not what the annotator said before
    rows_of((3, {}, {"cat"}, False, "ann", None), (3, {}, {}, True, "ann", None)), [], "overwrite", False
)
@example(  # a row that completed an answer when it was written
    rows_of((2, {}, {"owl", "dog"}, False, None, "train"), (2, {"cat"}, {}, True, "ann", "train")),
    [],
    "overwrite",
    False,
)
def test_where_posts_end_changes_nothing_and_neither_does_a_dry_run(
    rows: list[ImportRow], cuts: list[int], conflicts: Any, add_classes: bool
) -> None:
    choices = {"conflicts": conflicts, "add_classes": add_classes, "vocabulary": ("cat", "dog", "owl")}
    ends = []
    for edges in ([], cuts, range(len(rows))):
        with TemporaryDirectory() as folder:
            photos(Path(folder) / "photos", 5)
            with labeler(Path(folder), task="multilabel", classes=["cat", "dog"]) as service:
                service.annotate([classes(3, ["dog"], ["cat"]), classes(4, ["dog"], ["cat"])])
                service.annotate([classes(4, ["cat"], ["dog"], action="settle")])
                looked = [parts(service, rows, each, dry_run=True, **choices) for each in ([], cuts)]
                done = parts(service, rows, edges, **choices)
                assert [done, done] == looked
                ends.append(state(service))
                last, end = service.log.last_seq, state(service)
                assert parts(service, rows, cuts, **choices).labels == 0, "again changes nothing"
                assert (service.log.last_seq, state(service)) == (last, end)
                fold, labels = service.log.fold, service.log.fold.labels
                assert end["counts"] == {
                    each.name: sum(each.id in value.yes for value in labels.values()) for each in fold.live_classes()
                }
    assert ends[0] == ends[1] == ends[2]
