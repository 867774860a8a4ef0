from pathlib import Path

import pytest

from shared.storage.whole_files import write_whole


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    write_whole(tmp_path / "f", b"old")
    with pytest.raises(TypeError):
        write_whole(tmp_path / "f", "text")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]
