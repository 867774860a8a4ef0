import zipfile
from io import BytesIO

from hypothesis import given
from hypothesis import strategies as st

from shared.storage.zip_writer import ZipWriter

NAMES = st.lists(st.text("aé/猫.", min_size=1, max_size=9).map(lambda name: name.strip("/") or "x"), unique=True)


def written(kind: type[zipfile.ZipFile], names: list[str]) -> bytes:
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w") if kind is zipfile.ZipFile else ZipWriter(stream) as archive:
        for number, name in enumerate(names):
            archive.writestr(zipfile.ZipInfo(name), name.encode() * number)
        archive.mkdir("empty")
        packed = zipfile.ZipInfo("packed")
        packed.compress_type = zipfile.ZIP_DEFLATED
        with archive.open(packed, "w") as member:
            member.write(b"0" * 10_000)
    return stream.getvalue()


@given(NAMES)
def test_the_zip_is_the_one_that_zipfile_writes(names: list[str]) -> None:
    assert written(ZipWriter, names) == written(zipfile.ZipFile, names)


def test_more_members_than_a_small_zip_counts() -> None:
    stream = BytesIO()
    with ZipWriter(stream) as archive:
        for number in range(70_000):
            archive.writestr(zipfile.ZipInfo(f"{number}.txt"), b"")
    with zipfile.ZipFile(stream) as archive:
        assert len(archive.namelist()) == 70_000
        assert archive.namelist()[-1] == "69999.txt"
