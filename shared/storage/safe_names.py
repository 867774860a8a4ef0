"""File and folder names that every operating system accepts, for anything written under a name that a person chose.

A name has at most 255 bytes (not characters). It is not a Windows device (`CON`, `nul.txt`), does not end in a dot or
space, and has no characters that a path cannot hold. No two names differ only in capital letters or in how Unicode
composes an accent. What `escaped` changes can be decoded from the name. A shortened or numbered name can only be
looked up in the table of names in the export.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import unquote

MOST_BYTES: Final = 255  # per name, on common file systems
LONGEST_ENDING: Final = 20  # bytes
_UNSAFE: Final = re.compile(r'[\x00-\x1f\x7f-\x9f<>:"/\\|?*%\ud800-\udfff]|^[. ]|[. ]$')
_DEVICE: Final = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³])(?=\s*(?:\.|$))", re.IGNORECASE)


def escaped(name: str, reserved: Iterable[str] = ()) -> str:
    """Percent-encode characters that a path cannot hold, and the first letter of a device name or `reserved` name."""
    text = _UNSAFE.sub(lambda found: quoted(found[0]), name)
    if text and (_DEVICE.match(text) or text.lower() in reserved):
        text = quoted(text[0]) + text[1:]
    return text


def meant(text: str, reserved: Iterable[str] = ()) -> str:
    """The name from which `escaped` made `text`; `text` itself if it is not an escaped name."""
    name = unquoted(text)
    return name if escaped(name, reserved) == text else text


def quoted(text: str) -> str:
    """Percent-encode all of `text`."""
    return "".join(f"%{byte:02X}" for byte in _bytes(text))


def unquoted(text: str) -> str:
    """Decode a percent-encoded `text`; return it unchanged if it is not one, such as `100%Baumwolle`."""
    try:
        return unquote(text, errors="surrogatepass")
    except UnicodeDecodeError:
        return text


def plain(name: str) -> str:
    """Replace characters that a path cannot hold with `_`, where the name need not be decoded."""
    return cut(_UNSAFE.sub("_", name))


def cut(name: str, most: int = MOST_BYTES) -> str:
    """Shorten `name` to at most `most` bytes; keeps its extension and adds a hash of the full name."""
    if len(_bytes(name)) <= most:
        return name
    ending = PurePosixPath(name).suffix
    ending = ending if len(_bytes(ending)) <= LONGEST_ENDING else ""
    mark = f"~{hashlib.sha256(_bytes(name)).hexdigest()[:8]}{ending}"
    stem = _bytes(name)[: most - len(_bytes(mark))].decode("utf-8", "ignore")
    return stem.rstrip(". %") + mark


def partial_of(target: Path) -> Path:
    """The hidden file next to `target` that is written until it is complete. Its name is never too long."""
    return target.with_name(cut(f".{target.name}.partial"))


class SafeNames:
    """Unique names in one folder, each as close to the requested name as possible."""

    def __init__(self, reserved: Iterable[str] = ()) -> None:
        self._reserved = frozenset(reserved)
        self._names: dict[str, str] = {}
        self._taken: set[str] = set()

    def of(self, wanted: str) -> str:
        """The unique name for `wanted`; the same on each call."""
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
        """Whether `wanted` can be decoded from its name alone."""
        return meant(self.of(wanted), self._reserved) == wanted


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
