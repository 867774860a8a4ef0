import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.storage import contents
from shared.storage.contents import Contents, ContentsLost


def written(kept: Contents, place: str, stamp: int, names: list[str]) -> int:
    """The number of a table with these members."""
    return kept.write(place, stamp, ((name, [name, 1]) for name in names), lambda: {"skipped": 2})[0]


def test_a_table_is_found_by_its_file_and_stamp(tmp_path: Path) -> None:
    kept = Contents(tmp_path / "kept.db")
    number = written(kept, "a.zip", 1, ["b", "a", "ä", "a"])
    assert Contents(tmp_path / "kept.db").find("a.zip", 1) == kept.find("a.zip", 1) == (number, {"skipped": 2})
    assert kept.find("a.zip", 2) is None
    assert kept.find("b.zip", 1) is None
    assert list(kept.members(number)) == [("a", ["a", 1]), ("b", ["b", 1]), ("ä", ["ä", 1])]
    assert kept.get(number, "b") == ["b", 1]
    assert kept.get(number, "c") is None


def test_a_new_version_takes_the_place_of_the_old_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "_PAGE", 2)
    kept = Contents(None)
    old = written(kept, "a.zip", 1, ["a", "b", "c"])
    other = written(kept, "b.zip", 1, ["a"])
    listed = kept.members(old)
    next(listed)
    new = written(kept, "a.zip", 2, ["d"])
    assert [kept.has(each) for each in (old, other, new)] == [False, True, True]
    with pytest.raises(ContentsLost, match="replaced just now"):  # a part is never taken for the whole
        list(listed)


def test_a_table_whose_file_cannot_be_read_to_its_end_is_not_kept(tmp_path: Path) -> None:
    kept = Contents(tmp_path / "kept.db")

    def half() -> Iterator[tuple[str, int]]:
        yield "a", 1
        raise ValueError("cut off")

    with pytest.raises(ValueError, match="cut off"):
        kept.write("a.zip", 1, half(), dict)
    assert kept.find("a.zip", 1) is None
    with sqlite3.connect(tmp_path / "kept.db") as database:
        assert database.execute("SELECT count(*) FROM member").fetchone() == (0,)
    database.close()


def test_the_tables_used_longest_ago_are_deleted_at_a_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Contents(tmp_path / "kept.db")
    for place in ("a", "b", "c"):
        written(kept, place, 1, ["1", "2", "3"])
    kept.find("a", 1)
    monkeypatch.setattr(contents, "MOST_MEMBERS", 6)
    again = Contents(tmp_path / "kept.db")
    assert [again.find(place, 1) is not None for place in ("a", "b", "c")] == [True, False, True]


def test_a_damaged_database_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "kept.db"
    path.write_bytes(b"no database" * 1_000)
    kept = Contents(path)
    number = written(kept, "a.zip", 1, ["a"])
    assert kept.get(number, "a") == ["a", 1]


def test_without_a_place_for_it_the_database_is_temporary(tmp_path: Path) -> None:
    kept = Contents(tmp_path / "nowhere" / "kept.db")
    assert kept.get(written(kept, "a.zip", 1, ["a"]), "a") == ["a", 1]


def test_two_processes_that_read_the_same_file_share_one_table(tmp_path: Path) -> None:
    ours, theirs = Contents(tmp_path / "kept.db"), Contents(tmp_path / "kept.db")
    found = []

    def slowly() -> Iterator[tuple[str, int]]:
        found.append(written(theirs, "a.zip", 1, ["a", "b"]))
        yield from [("a", 1), ("b", 1)]

    number, about = ours.write("a.zip", 1, slowly(), dict)
    assert (number, about) == (found[0], {"skipped": 2})
    assert theirs.get(number, "b") == ours.get(number, "b") == ["b", 1]


def test_a_table_that_another_process_replaced_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "_PAGE", 2)
    ours, theirs = Contents(tmp_path / "kept.db"), Contents(tmp_path / "kept.db")
    number = written(ours, "a.zip", 1, ["a", "b", "c"])
    listed = ours.members(number)
    next(listed)
    written(theirs, "a.zip", 2, ["a"])
    with pytest.raises(ContentsLost, match="replaced just now"):  # a part is never taken for the whole
        list(listed)
    assert not ours.has(number)


def test_a_member_of_a_table_that_another_process_replaced_is_not_said_to_be_missing(tmp_path: Path) -> None:
    ours, theirs = Contents(tmp_path / "kept.db"), Contents(tmp_path / "kept.db")
    number = written(ours, "a.zip", 1, ["a"])
    written(theirs, "a.zip", 2, ["a"])
    with pytest.raises(ContentsLost, match="replaced just now"):
        ours.get(number, "a")
    assert not ours.has(number)
