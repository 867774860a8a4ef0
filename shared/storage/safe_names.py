"""Names of files and folders that every system takes: for whatever is written under a name that a person gave.

A name has at most 255 bytes, not characters; none is a device of Windows (`CON`, `nul.txt`), ends in a dot or space, or
has signs that a path cannot hold; and no two differ by capital letters or by how Unicode composes an accent alone. What
`escaped` changes can be read back from the name; what was cut or stands beside its like, only from a table of names
that the export carries.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import unquote

MOST_BYTES: Final = 255  # of one name, on the usual file systems
LONGEST_ENDING: Final = 20  # bytes
_UNSAFE: Final = re.compile(r'[\x00-\x1f\x7f-\x9f<>:"/\\|?*%\ud800-\udfff]|^[. ]|[. ]$')
_DEVICE: Final = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³])(?=\s*(?:\.|$))", re.IGNORECASE)


def escaped(name: str, reserved: Iterable[str] = ()) -> str:
    """`name` with what a path cannot hold as in a URL; the first letter of a device's or `reserved` name too."""
    text = _UNSAFE.sub(lambda found: quoted(found[0]), name)
    if text and (_DEVICE.match(text) or text.lower() in reserved):
        text = quoted(text[0]) + text[1:]
    return text


def meant(text: str, reserved: Iterable[str] = ()) -> str:
    """The name that `escaped` made `text` of; `text` itself where it is not one of these."""
    name = unquoted(text)
    return name if escaped(name, reserved) == text else text


def quoted(text: str) -> str:
    """All of `text` as in a URL."""
    return "".join(f"%{byte:02X}" for byte in _bytes(text))


def unquoted(text: str) -> str:
    """`text` without what is as in a URL; `text` itself where that is none, as in `100%Baumwolle`."""
    try:
        return unquote(text, errors="surrogatepass")
    except UnicodeDecodeError:
        return text


def plain(name: str) -> str:
    """`name` with `_` for what a path cannot hold, where reading it back does not matter."""
    return cut(_UNSAFE.sub("_", name))


def cut(name: str, most: int = MOST_BYTES) -> str:
    """`name` in at most so many bytes, with its ending kept and a mark of what it was before that."""
    if len(_bytes(name)) <= most:
        return name
    ending = PurePosixPath(name).suffix
    ending = ending if len(_bytes(ending)) <= LONGEST_ENDING else ""
    mark = f"~{hashlib.sha256(_bytes(name)).hexdigest()[:8]}{ending}"
    stem = _bytes(name)[: most - len(_bytes(mark))].decode("utf-8", "ignore")
    return stem.rstrip(". %") + mark


def partial_of(target: Path) -> Path:
    """Where `target` is written until it is whole: beside it, hidden, under a name that is not too long either."""
    return target.with_name(cut(f".{target.name}.partial"))


class SafeNames:
    """Names in one folder: each what was asked for, as far as it can be, and different from all others."""

    def __init__(self, reserved: Iterable[str] = ()) -> None:
        self._reserved = frozenset(reserved)
        self._names: dict[str, str] = {}
        self._taken: set[str] = set()

    def of(self, wanted: str) -> str:
        """The name that stands for `wanted`, the same each time."""
        if wanted not in self._names:
            whole = escaped(wanted, self._reserved)
            name, number = cut(whole), 1
            while _key(name) in self._taken:
                number += 1
                name = cut(whole, MOST_BYTES - len(str(number)) - 1) + f"~{number}"
            self._taken.add(_key(name))
            self._names[wanted] = name
        return self._names[wanted]

    def tells(self, wanted: str) -> bool:
        """Whether the name alone says what was wanted."""
        return meant(self.of(wanted), self._reserved) == wanted


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
