from hypothesis import given
from hypothesis import strategies as st

from shared.importing import _batches
from shared.web.parts import parts, text_length
from shared.wire.imports import ImportedAnswer, ImportPost, ImportRow

LIMIT = 8_388_608  # max_json_bytes


@given(items=st.lists(st.integers(0, 30)), most=st.integers(1, 7), most_bytes=st.integers(1, 60))
def test_all_items_in_order_and_each_part_small(items: list[int], most: int, most_bytes: int) -> None:
    found = list(parts(items, lambda item: item, most=most, most_bytes=most_bytes))
    assert [item for part in found for item in part] == items
    assert all(0 < len(part) <= most for part in found)
    assert all(len(part) == 1 or sum(part) <= most_bytes for part in found)


@given(st.text())
def test_the_length_of_a_text_is_near_that_of_its_json(text: str) -> None:
    assert text_length(text, None, "") <= 4 + 4 * len(text)


def test_an_import_with_long_notes_comes_in_parts_that_the_labeler_takes() -> None:
    note = "\N{GRINNING FACE}" * 2_000
    answers = [
        ImportedAnswer(action="label", label="cat", annotator=f"person {number}", note=note) for number in range(30)
    ]
    rows = [ImportRow(line=line, uri="x" * 4_000, label="cat", answers=answers) for line in range(60)]
    batches = list(_batches(rows))
    assert [row for batch, _ in batches for row in batch] == rows
    assert [more for _, more in batches] == [True] * (len(batches) - 1) + [False]
    for batch, _ in batches:
        post = ImportPost(rows=[row for row in batch if isinstance(row, ImportRow)])
        assert len(post.model_dump_json().encode()) < LIMIT
