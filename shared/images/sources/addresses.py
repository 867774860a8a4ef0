"""Addresses of images that are not in a local folder: which kinds are supported, and whether one contains another.

An address is `scheme://bucket-or-host/path`. It never contains credentials, which come from the environment, so it can
be stored and shown. Nothing here opens a file or connection.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv6Address
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import unquote, urlsplit

Place = Path | str
"""The location of a root's images: a local path, or an address, which is always a `str`."""
SCHEMES: Final = ("s3", "gs", "az", "hf", "https", "http", "memory")
WEB: Final = frozenset({"http", "https"})
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_OF_THIS_MACHINE = frozenset({"file", "zip", "tar"})


class AddressProblem(ValueError):  # noqa: N818 - it says what is wrong with an address
    """An address is invalid. The message completes a sentence that begins with the address."""


def is_address(text: str) -> bool:
    """Whether the text is an address rather than a local path."""
    found = _SCHEME.match(text)
    return found is not None and found[1].lower() not in _OF_THIS_MACHINE


def place(text: str) -> Place:
    """Parse an address, or a path that `file://`, `zip://` or `tar://` may precede.

    Raises AddressProblem.
    """
    while (found := _SCHEME.match(text)) and found[1].lower() in _OF_THIS_MACHINE:
        text = text[found.end() :]
    return checked(text) if is_address(text) else Path(text).expanduser()


def checked(address: str) -> str:
    """Normalise the address. Raises AddressProblem if it is invalid or contains credentials."""
    scheme, _, rest = address.partition("://")
    if "::" in scheme or "::" in (rest.rpartition("]")[2] if scheme.lower() in WEB and rest.startswith("[") else rest):
        raise AddressProblem("is a chain of addresses: name the file itself, such as s3://bucket/photos.zip")
    if not address.isprintable():  # urlsplit would leave some of them out
        raise AddressProblem("contains a character that cannot be printed")
    try:
        parts = urlsplit(address)
        host = parts.netloc.lower() if parts.scheme.lower() in WEB else parts.netloc
        _ = parts.port if parts.scheme.lower() in WEB else None  # raises ValueError
    except ValueError:
        raise AddressProblem("is not an address") from None
    scheme = parts.scheme.lower()
    if scheme not in SCHEMES:
        raise AddressProblem(f"is of a kind that is not read: use {', '.join(SCHEMES[:-2])} or http")
    if "@" in host:
        raise AddressProblem("contains a user or password: leave it out, and give credentials in the environment")
    if scheme in WEB and (parts.query or parts.fragment):
        raise AddressProblem("contains a query, which may be a password: leave out what follows the ? or #")
    if scheme in WEB and host.startswith("["):
        host = _of_six(host)
    if not host:
        raise AddressProblem(f"names no {'host' if scheme in WEB else 'bucket'}")
    path = address[address.index("://") + 3 + len(parts.netloc) :]  # a ? or # may be part of an object's name
    if climbs(path):
        raise AddressProblem("contains .. or a backslash")
    return f"{scheme}://{host}{path}"


def _of_six(host: str) -> str:
    """An IPv6 host and its port in their usual form, so that two spellings of one host are one address."""
    number, _, port = host.removeprefix("[").partition("]")
    try:
        address = IPv6Address(number)
    except ValueError:
        raise AddressProblem("is not an address") from None
    if address.scope_id:
        raise AddressProblem("names a network interface after a %, which is not read: leave it out")
    return f"[{address.compressed}]{port}"


def climbs(path: str) -> bool:
    """Whether a path may lead out of its folder, even if a server decodes it once or twice."""
    once = unquote(path)
    return any(".." in each.split("/") or "\\" in each or "\0" in each for each in (path, once, unquote(once)))


def is_within(address: str, prefixes: Iterable[str]) -> bool:
    """Whether an address is below one of these prefixes. `s3://bucket/a` contains `s3://bucket/a/b`, but not
    `s3://bucket/ab`.
    """
    return any(
        address == prefix or address.startswith(prefix if prefix.endswith("/") else prefix + "/") for prefix in prefixes
    )


def shown(place: Place) -> str:
    """The place as text for people, without possible secrets."""
    if isinstance(place, Path):
        return str(place)
    scheme, _, rest = place.partition("://")
    host, slash, path = rest.partition("/")
    host = host.rpartition("@")[2]
    return f"{scheme}://{host}{slash}{path.partition('?')[0] if scheme in WEB else path}"


def name_of(place: Place) -> str:
    """A short name: the last part of the path, without the extension of an image container."""
    path = place.absolute() if isinstance(place, Path) else PurePosixPath(place.partition("://")[2])
    if isinstance(path, Path) and path.is_dir():
        return path.name
    return re.sub(r"[*?\[].*$", "", path.name.partition(".")[0]).strip("-_ ") or path.parent.name
