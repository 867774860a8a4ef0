"""The confusion matrix as the page shows it: counts that lead to images which may be shown."""

from __future__ import annotations

import re

from labeler.ui.charts import confusion
from labeler.ui.charts.progress_charts import class_table
from shared.wire.evaluation import ClassMetrics, Evaluation
from shared.wire.project import ClassEntry
from tests.labeler.ui.charts.test_progress_charts import evaluation


def measured(counts: list[list[int]], names: list[str] | None = None, images: int = 20) -> Evaluation:
    names = names or [f"class {number}" for number in range(len(counts))]
    classes = [
        ClassMetrics(label=10 + number, name=name, precision=None, recall=None, f1=None, support=sum(row))
        for number, (name, row) in enumerate(zip(names, counts, strict=True))
    ]
    return evaluation(40, 0.9, 0.05, images).model_copy(update={"classes": classes, "confusion": counts})


def test_each_count_opens_the_grid_on_its_cell_and_a_zero_opens_nothing() -> None:
    html = confusion.matrix(measured([[5, 0], [2, 9]]))
    links = re.findall(r'href="/grid\?label=(\d+)&amp;predicted=(\d+)"[^>]*>(\d+)<', html)
    assert links == [("10", "10", "5"), ("11", "10", "2"), ("11", "11", "9")]
    assert 'aria-label="2 of 11 test images of class 1 predicted as class 0: show such labeled images"' in html


def test_a_class_goes_by_its_name_of_now() -> None:
    renamed = [ClassEntry(id=11, name="hound", hotkey="1"), ClassEntry(id=10, name="class 0", hotkey="2")]
    found = confusion.in_order(measured([[5, 0], [2, 9]]), renamed)
    assert [(each.name, each.support) for each in found.classes] == [("hound", 11), ("class 0", 5)]
    table = class_table(found, {"hound": 30, "class 0": 4})
    assert list(table["Labels"]) == [30, 4]


def test_names_are_text_and_never_markup() -> None:
    html = confusion.matrix(measured([[1, 0], [0, 1]], ["<img src=x onerror=alert(1)>", 'a"b']))
    assert "<img" not in html
    assert "&lt;img" in html
    assert "a&quot;b" in html


def test_many_classes_are_a_list_of_the_most_frequent_mistakes() -> None:
    size = confusion.MOST_CLASSES + 5
    counts = [[0] * size for _ in range(size)]
    for number in range(12):
        counts[number][number + 1] = number + 1
    many = measured(counts)
    assert confusion.matrix(many) == ""
    found = confusion.confusions(many)
    assert len(found) == confusion.MOST_CONFUSIONS
    assert found[0] == ("class 11", "class 12", 12, "/grid?label=21&predicted=22")


def test_classes_stand_in_the_order_of_the_project_and_in_their_own_colour() -> None:
    classes = [ClassEntry(id=11, name="b", hotkey=None), ClassEntry(id=10, name="a", hotkey=None)]
    shown = confusion.in_order(measured([[5, 1, 0], [2, 9, 3], [0, 0, 7]], ["a", "b", "gone"]), classes)
    assert [each.name for each in shown.classes] == ["b", "a", "gone"]
    assert shown.confusion == [[9, 2, 3], [1, 5, 0], [0, 0, 7]]
    html = confusion.matrix(shown, {11: "#12ab34"})
    assert html.count("#12ab34") == 2  # its row and its column


def test_one_class_has_no_matrix() -> None:
    assert confusion.matrix(measured([[5]])) == ""
    assert confusion.confusions(measured([[5]])) == []
