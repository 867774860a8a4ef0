"""Which file a name means if it is spelled differently from the file's name."""

from __future__ import annotations

import unicodedata

import pytest

from shared.images.names import NamesInList, same_path, spellings

FILES = [
    "cat/a.png",
    "dog/a.png",
    unicodedata.normalize("NFD", "café/été.png"),
    unicodedata.normalize("NFC", "größe.png"),
    "sub/p.png",
    "cat+dog.png",
    "x y.png",
    "q%20r.png",
    " lead.png",
    "IMG_1.JPG",
    "train/1.png",
    "b.webp",
    "deep/er/c.png",
    "2019.01.05.png",
]


@pytest.mark.parametrize(
    ("name", "difference", "file"),
    [
        ("cat/a.png", None, "cat/a.png"),
        ("cat+dog.png", None, "cat+dog.png"),
        ("café/été.png", "Unicode form", FILES[2]),
        (unicodedata.normalize("NFD", "größe.png"), "Unicode form", FILES[3]),
        ("sub\\p.png", "separators", "sub/p.png"),
        ("./sub//p.png", "separators", "sub/p.png"),
        ("sub%5Cp.png", "URL encoding", "sub/p.png"),
        ("x+y.png", "URL encoding", "x y.png"),
        ("x%20y.png", "URL encoding", "x y.png"),
        ("cat%2Bdog.png", "URL encoding", "cat+dog.png"),
        ("cat%2bdog.png", "URL encoding", "cat+dog.png"),
        ("q r.png", "URL encoding", "q%20r.png"),
        ("caf%C3%A9/%C3%A9t%C3%A9.png", "URL encoding", FILES[2]),
        (" x y.png ", "white space", "x y.png"),
        ("lead.png", "white space", " lead.png"),
        ("sub / p.png", "white space", "sub/p.png"),
        ("img_1.jpg", "capital letters", "IMG_1.JPG"),
        ("C:\\Users\\me\\cat\\a.png", "leading folders", "cat/a.png"),
        ("er/c.png", "leading folders", "deep/er/c.png"),
        ("/mnt/old/train/1.png", "leading folders", "train/1.png"),
        ("elsewhere/c.png", "folders", "deep/er/c.png"),
        ("b", "endings", "b.webp"),
        ("b.jpg", "endings", "b.webp"),
        ("2019.01.05", "endings", "2019.01.05.png"),
        ("photos/sub/p", "endings", "sub/p.png"),
    ],
)
def test_the_least_difference_counts(name: str, difference: str | None, file: str) -> None:
    found, places = NamesInList(FILES).find(name)
    assert (found, [FILES[at] for at in places]) == (difference, [file])


def test_an_ambiguous_name_is_reported_with_all_candidates() -> None:
    names = NamesInList(FILES)
    assert [FILES[at] for at in names.find("a.png")[1]] == ["cat/a.png", "dog/a.png"]
    assert [FILES[at] for at in names.find("old/a")[1]] == ["cat/a.png", "dog/a.png"]
    both = NamesInList([unicodedata.normalize(form, "é.png") for form in ("NFC", "NFD")])
    assert [both.find(unicodedata.normalize(form, "é.png")) for form in ("NFC", "NFD")] == [(None, [0]), (None, [1])]


@pytest.mark.parametrize("name", ["none.png", "test/1.png", "validation/1.png", "dog/p.png", "1", "sub/q.png", ""])
def test_a_file_that_is_missing_is_not_another_one(name: str) -> None:
    # 1.png is in train: of another split it is missing; dog is a folder of ours, in which there is no p.png
    files = [each for each in FILES if name != "1" or each != "train/1.png"]
    assert NamesInList(files).find(name) == (None, [])


def test_ways_to_write_a_path_for_a_disk() -> None:
    ways = {text: difference for difference, text in spellings("s\\caf%C3%A9+1.png ")}
    assert ways["s/café 1.png "] == "URL encoding"
    assert "s/café+1.png" in ways
    assert not list(spellings("plain.png"))
    assert same_path("a\\é.png") == same_path(unicodedata.normalize("NFD", "./a//é.png"))
