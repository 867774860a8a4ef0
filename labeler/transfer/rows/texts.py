"""Converts values in other people's files to text: class names or image names, independent of the stored type.

A whole number that gaps in its column turned into a float is 7, not 7.0. Bytes become the text in them. A missing value
is "", however pandas, NumPy, arrow or JSON express it. Values that are not names are never printed: they may be
pictures.
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

_SHOWN: Final = 3  # maximum labels shown of a row with several
_LONGEST: Final = 40  # maximum characters shown of each
_NAMED_BY: Final = ("choices", "label", "name", "class")  # keys of an object that may hold the class name


def text(value: Any) -> str:
    """One value; "" if it is missing. Raises ValueError with the reason if it is not text."""
    if isinstance(value, str):
        return value.strip()
    value = python(value)
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
    """A value, or several joined with ;. Raises ValueError."""
    if isinstance(value, str):
        return value.strip()
    value = python(value)
    return ";".join(map(text, value)) if isinstance(value, list) else text(value)


def class_name(value: Any) -> str:
    """The single class that a value names; "" if none. Raises ValueError with the reason."""
    if isinstance(value, str):
        value = parsed(value)
        if isinstance(value, str):
            return value
    value = python(value)
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
    """The class that all these names agree on; "" if there is none. Raises ValueError if there are several."""
    different = list(dict.fromkeys(filter(None, names)))
    if len(different) > 1:
        shown = ", ".join(repr(name[:_LONGEST]) for name in different[:_SHOWN])
        more = ", …" if len(different) > _SHOWN else ""
        raise ValueError(f"has several labels ({shown}{more}), and an image has one class here: keep one")
    return different[0] if different else ""


def image_name(value: Any) -> tuple[str, str | None]:
    """The path of an image, and the SHA-256 of its bytes if the file contains them, as `datasets` files do.

    Both are empty if no image is named. Raises ValueError with the reason.
    """
    if isinstance(value, str):
        return value, None  # spaces can be part of the name
    value = python(value)
    if isinstance(value, Mapping):
        data, path = python(value.get("bytes")), value.get("path") or value.get("src") or value.get("url")
        if isinstance(data, bytes) and data:
            digest = sha256(data).hexdigest()
            return text(path) or f"picture {digest[:12]}", digest
        if isinstance(path, str):
            return path, None
        raise ValueError("has an image object without bytes and path: give a path")
    if isinstance(value, bytes):
        try:
            return _decoded(value), None
        except ValueError:
            digest = sha256(value).hexdigest()
            return f"picture {digest[:12]}", digest
    if isinstance(value, list):
        if len(value) != 1:
            raise ValueError(f"names {len(value)} images: a row names one")
        return image_name(value[0])
    return text(value), None


def python(value: Any) -> Any:
    """Convert NumPy and pandas types to Python's; None if missing."""
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
        return None  # NaN or NaT
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


def parsed(said: str) -> Any:
    """Parse a list or object written into a cell; other text is returned unchanged."""
    said = said.strip()
    if said[:1] + said[-1:] not in ("[]", "{}"):
        return said
    try:
        value = json.loads(said)
    except (ValueError, RecursionError):  # or thousands of nested brackets
        try:
            value = ast.literal_eval(said)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return said
    return value if isinstance(value, list | dict) else said
