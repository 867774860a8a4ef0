"""Values of other people's files as text: the name of a class, or of an image, and nothing of the type that held it.

A whole number that a gap made a fraction is 7 and not 7.0, bytes are the text in them, and what is missing is empty,
whichever way pandas, NumPy, arrow or JSON say so. What is no name is never printed: it may be a picture.
"""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from hashlib import sha256
from typing import Any, Final

_SHOWN: Final = 3  # labels of a row that has several
_LONGEST: Final = 40  # characters of each
_NAMED_BY: Final = ("choices", "label", "name", "class")  # keys under which an object has the name of a class


def text(value: Any) -> str:
    """One value; empty where it is missing. Raises ValueError, with what is the matter, for what is none."""
    if isinstance(value, str):
        return value.strip()
    value = _python(value)
    match value:
        case None:
            return ""
        case str():
            return value.strip()
        case bool():
            return "true" if value else "false"
        case float() | Decimal():
            return _number(value)
        case datetime():
            midnight = value.time() == time() and value.tzinfo is None
            return value.date().isoformat() if midnight else value.isoformat()
        case date() | time():
            return value.isoformat()
        case bytes():
            return _decoded(value)
        case list() | Mapping():
            raise ValueError(f"that is {'a list' if isinstance(value, list) else 'an object'}, not text")
        case _:
            return str(value).strip()


def joined(value: Any) -> str:
    """A value, or several with ; between them. Raises ValueError."""
    if isinstance(value, str):
        return value.strip()
    value = _python(value)
    return ";".join(map(text, value)) if isinstance(value, list) else text(value)


def class_name(value: Any) -> str:
    """The one class that a value names; empty where it names none. Raises ValueError, with what is the matter."""
    if isinstance(value, str):
        value = _parsed(value)
        if isinstance(value, str):
            return value
    value = _python(value)
    if isinstance(value, Mapping):
        named = next((value[key] for key in _NAMED_BY if key in value), None)
        if named is None or isinstance(named, Mapping):
            keys = ", ".join(repr(str(key)[:_LONGEST]) for key in list(value)[:_SHOWN])
            raise ValueError(
                f"has a label that is an object with {keys or 'nothing in it'}: the name of a class is needed"
            )
        return class_name(named)
    if not isinstance(value, list):
        try:
            return text(value)
        except ValueError as error:
            raise ValueError(f"has a label {error}") from None
    return one_of([class_name(each) for each in value])


def one_of(names: list[str]) -> str:
    """The one class that all these names are; empty where there is none. Raises ValueError where they are several."""
    different = list(dict.fromkeys(filter(None, names)))
    if len(different) > 1:
        shown = ", ".join(repr(name[:_LONGEST]) for name in different[:_SHOWN])
        more = ", …" if len(different) > _SHOWN else ""
        raise ValueError(f"has several labels ({shown}{more}), and an image has one class here: leave one")
    return different[0] if different else ""


def image_name(value: Any) -> tuple[str, str | None]:
    """The path of an image, and the SHA-256 of its bytes where they are in the file, as `datasets` writes them.

    Both are empty where no image is named. Raises ValueError, with what is the matter.
    """
    if isinstance(value, str):
        return value, None  # spaces may be of the name
    value = _python(value)
    if isinstance(value, Mapping):
        data, path = _python(value.get("bytes")), value.get("path") or value.get("src") or value.get("url")
        if isinstance(data, bytes) and data:
            digest = sha256(data).hexdigest()
            return text(path) or f"picture {digest[:12]}", digest
        if isinstance(path, str):
            return path, None
        raise ValueError("names its image by an object without bytes and path: a path is needed")
    if isinstance(value, bytes):
        try:
            return _decoded(value), None
        except ValueError:
            digest = sha256(value).hexdigest()
            return f"picture {digest[:12]}", digest
    if isinstance(value, list):
        if len(value) != 1:
            raise ValueError(f"names {len(value)} images: a row is about one")
        return image_name(value[0])
    return text(value), None


def _python(value: Any) -> Any:
    """Without the types of NumPy and pandas; None where it is missing."""
    kind = type(value).__name__
    if kind == "NAType":
        return None
    if kind == "datetime64":
        value = value.astype("datetime64[us]").tolist()
    elif hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, tuple | set | frozenset):
        return list(value)
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    if not isinstance(value, list | Mapping) and value != value:
        return None  # not a number, not a time
    return value


def _number(value: float | Decimal) -> str:
    if not math.isfinite(value):
        raise ValueError("that is infinite, not text")
    return str(int(value)) if value == int(value) else str(value)


def _decoded(value: bytes) -> str:
    try:
        said = value.decode()
    except UnicodeDecodeError:
        said = "\0"
    if len(said) > 4_096 or not said.isprintable():
        raise ValueError("that is bytes, not text")
    return said.strip()


def _parsed(said: str) -> Any:
    """A list or an object that was written into a cell, else the text as it is."""
    said = said.strip()
    if said[:1] + said[-1:] not in ("[]", "{}"):
        return said
    try:
        value = json.loads(said)
    except (ValueError, RecursionError):  # brackets within brackets, thousands deep
        try:
            value = ast.literal_eval(said)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return said
    return value if isinstance(value, list | dict) else said
