from hypothesis import given
from hypothesis import strategies as st

from shared.storage.spool import Spool


@given(st.lists(st.lists(st.text() | st.integers() | st.none())))
def test_values_come_back_in_order_whatever_they_contain(values: list[object]) -> None:
    with Spool() as spool:
        for value in values:
            spool.append(value)
        assert len(spool) == len(values)
        assert list(spool) == list(spool) == values


def test_a_name_that_is_not_utf_8_is_kept() -> None:
    with Spool() as spool:
        spool.append(("a\udcff.png", None))
        assert list(spool) == [["a\udcff.png", None]]
