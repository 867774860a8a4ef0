"""Names that every system takes, and what they stand for."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.storage.safe_names import MOST_BYTES, SafeNames, cut, escaped, meant, partial_of, plain
from shared.storage.whole_files import write_whole


@pytest.mark.parametrize(
    "name",
    [
        *("CON", "nul.txt", "com1", "LPT9.tar.gz", "aux .png", "COM²", "a.", "a ", " a", ".a", "a:b", "a/b", "a\\b"),
        *("tab\there", "100%", "..", "<a>", "bell\x07", "del\x7f", "\ud800x"),
    ],
)
def test_names_that_a_system_refuses_are_written_as_in_a_url(name: str) -> None:
    text = escaped(name)
    assert text != name
    assert not set(text) & set('<>:"/\\|?*\t\x07\x7f')
    assert text[0] not in " ."
    assert text[-1] not in " ."
    assert text.partition(".")[0].strip().lower() not in {"con", "nul", "com1", "lpt9", "aux", "com²"}
    assert meant(text) == name


@pytest.mark.parametrize(
    "name",
    ["cat", "console", "nullable.txt", "com10", "größe", "写真", "a.b", "C-3PO", "50%20off", "100%Baumwolle", "5%C3"],
)
def test_names_that_every_system_takes_stay(name: str) -> None:
    assert meant(escaped(name)) == name
    if "%" not in name:
        assert escaped(name) == name
    assert meant("50%20off") == "50%20off"
    assert meant("100%Baumwolle") == "100%Baumwolle"  # which no export of ours writes


@pytest.mark.parametrize("letter", ["ж", "猫", "é", "😀", "a"])
def test_a_long_name_is_cut_by_bytes_and_keeps_its_ending(letter: str) -> None:
    name = cut(letter * 300 + ".jpeg")
    assert len(name.encode()) <= MOST_BYTES
    assert name.startswith(letter * 40)
    assert name.endswith(".jpeg")
    assert name != cut(letter * 301 + ".jpeg")  # which would be the same letters
    assert len(plain(letter * 300).encode()) <= MOST_BYTES


@given(st.lists(st.text(max_size=120), unique=True, max_size=12))
def test_names_in_one_folder_differ_on_every_system(names: list[str]) -> None:
    safe = SafeNames(reserved=["docs"])
    given_names = {name: safe.of(name) for name in names if name}
    keys = {
        unicodedata.normalize("NFC", unicodedata.normalize("NFC", each).casefold()) for each in given_names.values()
    }
    assert len(keys) == len(given_names)
    assert all(len(each.encode()) <= MOST_BYTES for each in given_names.values())
    assert {name: safe.of(name) for name in given_names} == given_names


def test_names_that_differ_in_capital_letters_or_accents_alone() -> None:
    safe = SafeNames(reserved=["docs"])
    composed, apart = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
    assert [safe.of(name) for name in ("Cat", "cat", "CAT", "cat~2", composed, "docs")] == [
        *("Cat", "cat~2", "CAT~3", "cat~2~2", composed, "%64ocs")
    ]
    assert safe.of(apart) == f"{apart}~2"
    assert [safe.tells(name) for name in ("Cat", "cat", composed, apart, "docs")] == [True, False, True, False, True]


def test_files_of_long_names_are_written_whole(tmp_path: Path) -> None:
    name = "ж" * 125 + ".png"  # 254 bytes
    write_whole(tmp_path / name, b"data")
    assert [each.name for each in tmp_path.iterdir()] == [name]
    assert len(partial_of(tmp_path / name).name.encode()) <= MOST_BYTES
    assert partial_of(tmp_path / "a.zip").name == ".a.zip.partial"
