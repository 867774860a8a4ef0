"""Cells of a CSV file: no spreadsheet executes them, and reading them returns the original text."""

import csv
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.cells import harmless, meant

SIGNS = "=+-@\t\r＝＋－＠"
texts = st.text(st.sampled_from([*SIGNS, "'", ";", "|", "\n", " ", "\u3000", "a", ","]), max_size=12)


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("＝1+1", "'＝1+1"),  # full width
        (" =1", "' =1"),
        ("ann;=1+1", "ann;'=1+1"),  # two cells where a semicolon parts them
        ("ann; @SUM(1)", "ann;' @SUM(1)"),
        ("a|+1\t-1", "a|'+1\t'-1"),
        ("'=1", "''=1"),
        ("e-mail", "e-mail"),
        ("a=b", "a=b"),
        ("'quoted'", "'quoted'"),
        ("", ""),
    ],
)
def test_text_that_could_be_a_formula_gets_an_apostrophe(text, cell):
    assert harmless(text) == cell


@given(texts)
@example("'=1;''=2")
@example("\t=")
def test_reading_gives_back_what_was_written(text):
    assert meant(harmless(text)) == text


@given(texts, st.sampled_from(";|\t"))  # whoever writes a CSV file quotes the comma
def test_no_part_begins_with_a_sign_by_whichever_separator_a_spreadsheet_takes(text, separator):
    for line in csv.reader(re.split("[\r\n]", harmless(text)), delimiter=separator, quoting=csv.QUOTE_NONE):
        for part in line:
            assert not part.lstrip(" \u3000").startswith(tuple(SIGNS))
