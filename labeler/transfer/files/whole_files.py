"""Reads whole files with a size limit, and refuses XML with a document type.

Only a document type can declare entities, which could expand without limit or refer to other files. It must come before
the first element, so only that part is checked.
"""

from __future__ import annotations

from pathlib import Path
from xml.parsers import expat

from shared.settings.services import SettingsError

LARGEST_JSON = 1 << 29
"""Maximum bytes of a JSON file that is read whole. The annotations of COCO itself have 470 MB."""
LARGEST_XML = 1 << 31
"""Maximum bytes of an XML file that is read image by image."""
_PIECE = 1 << 16
_LONGEST_PROLOG = 1 << 20


class _RootError(Exception):
    """The first element has been reached."""


def content_of(path: Path, largest: int = LARGEST_JSON) -> bytes:
    """The bytes of a file. Raises SettingsError if it is too large."""
    check_size(path, largest)
    return path.read_bytes()


def check_size(path: Path, largest: int) -> None:
    """Raises SettingsError if the file is larger than this."""
    size = path.stat().st_size
    if size > largest:
        raise SettingsError(f"{path} has {size:,} bytes, and the limit is {largest:,}: split it into several files.")


def check_xml(path: Path, largest: int = LARGEST_XML) -> None:
    """Raises SettingsError if the file is too large, has a document type, or an encoding that Python's XML parser does
    not know. Other faults of the XML are not checked here.
    """
    check_size(path, largest)

    def refuse(*_: object) -> None:
        raise SettingsError(f"{path} has a document type (DOCTYPE), which label files do not need: remove that line.")

    def end(*_: object) -> None:
        raise _RootError

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = end
    with path.open("rb") as stream:
        try:
            for _ in range(_LONGEST_PROLOG // _PIECE):
                piece = stream.read(_PIECE)
                parser.Parse(piece, not piece)
                if not piece:
                    return
        except (_RootError, expat.ExpatError):
            return
        except (LookupError, ValueError) as error:
            raise SettingsError(f"{path} cannot be decoded ({error}): save it as UTF-8.") from None
    raise SettingsError(f"{path} has no element in its first {_LONGEST_PROLOG:,} bytes: it is not XML with labels.")
