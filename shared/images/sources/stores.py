"""Object stores, through fsspec: list, stamp and read objects, within finite time.

Credentials come from the environment, where each store's own tools look for them. Error messages never repeat what a
store says, because it may contain keys or signed addresses. A store that fails repeatedly is not asked for a while, so
that many images do not each wait for it.
"""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

from shared.images.opening import ImageProblem
from shared.images.sources.addresses import WEB, shown
from shared.images.sources.source import ImageAway, Stamp, folded

READ_SECONDS, LIST_SECONDS, CONNECT_SECONDS = 20.0, 60.0, 5.0
TRIES = 2
"""Attempts per request. Few, because a scan retries by itself, and a person should not wait long for an image."""
FAILURES = 3
"""Consecutive failures after which a store is not asked for a while."""
LONGEST_PAUSE = 10.0
_EXTRA = {"s3": ("s3fs", "s3"), "gs": ("gcsfs", "gs"), "az": ("adlfs", "az")}
T = TypeVar("T")


class Store(Protocol):
    """Files by address. Thread-safe. Every method raises ImageProblem and ImageAway."""

    def read(self, address: str, start: int, end: int) -> bytes:
        """Return the bytes from `start` to `end`, or fewer at the end of the file."""

    def look(self, address: str) -> tuple[int, Stamp]:
        """Return the size in bytes and the stamp."""

    def entries(self, address: str) -> Iterator[tuple[str, int, Stamp]]:
        """List what is directly under an address: name (a folder's ends with /), size, stamp."""

    def keys(self, address: str) -> Iterator[tuple[str, int, Stamp]] | None:
        """List all files under an address, in code point order: name, size, stamp. None if the store only lists
        folders.
        """


class Patience:
    """Whether a store may be asked now. After several consecutive failures it is not asked for a while; the pause
    doubles.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures = 0
        self._until = 0.0

    @property
    def exhausted(self) -> bool:
        """Whether the store must not be asked now."""
        return time.monotonic() < self._until

    def note(self, *, failed: bool) -> None:
        """Note whether a request failed."""
        with self._lock:
            self._failures = self._failures + 1 if failed else 0
            beyond = self._failures - FAILURES
            self._until = time.monotonic() + min(2.0**beyond, LONGEST_PAUSE) if beyond >= 0 else 0.0


class FileSystemStore:
    """A bucket of an fsspec file system."""

    def __init__(self, scheme: str) -> None:
        self._scheme = scheme
        self._patience = Patience()
        self._files: Any = None
        self._lock = threading.Lock()

    def read(self, address: str, start: int, end: int) -> bytes:
        """See Store."""
        data: bytes = self._ask(address, READ_SECONDS, "cat_file", start=start, end=end)
        return data

    def look(self, address: str) -> tuple[int, Stamp]:
        """See Store."""
        found = self._ask(address, READ_SECONDS, "info")
        if found.get("type") == "directory":
            raise ImageProblem("is not a file")
        return int(found.get("size") or 0), _stamp(found)

    def entries(self, address: str) -> Iterator[tuple[str, int, Stamp]]:
        """See Store."""
        base = self._path(address).rstrip("/")
        for found in self._ask(address, LIST_SECONDS, "ls", detail=True):
            path = str(found["name"]).strip("/")
            name = path.removeprefix(base.strip("/")).lstrip("/")
            if not name:  # an object that represents the folder itself
                continue
            if found.get("type") == "directory":
                yield name + "/", 0, (0, 0)
            else:
                yield name, int(found.get("size") or 0), _stamp(found)

    def keys(self, address: str) -> Iterator[tuple[str, int, Stamp]] | None:
        """See Store. S3 lists a thousand objects at a time, however many folders they are in."""
        return self._pages(address) if self._scheme == "s3" else None

    def _pages(self, address: str) -> Iterator[tuple[str, int, Stamp]]:
        bucket, _, prefix = self._path(address).partition("/")
        prefix = prefix.rstrip("/") + "/" if prefix else ""
        after = ""
        while True:
            page = self._list_page(address, bucket, prefix, after)
            for found in page.get("Contents", ()):
                after = found["Key"]
                size = int(found.get("Size") or 0)
                yield after.removeprefix(prefix), size, (size, folded(found.get("ETag")) or 1)
            if not page.get("IsTruncated") or not page.get("Contents"):
                return

    def _list_page(self, address: str, bucket: str, prefix: str, after: str) -> Any:
        def request() -> Any:
            options = {"Bucket": bucket, "Prefix": prefix} | ({"StartAfter": after} if after else {})
            return self._opened().call_s3("list_objects_v2", timeout=LIST_SECONDS, **options)

        return asked(self._patience, address, request)

    def _ask(self, address: str, seconds: float, method: str, **options: Any) -> Any:
        def request() -> Any:
            files = self._opened()
            timeout = {"timeout": seconds} if files.async_impl else {}
            return getattr(files, method)(self._path(address), **options, **timeout)

        return asked(self._patience, address, request)

    def _path(self, address: str) -> str:
        rest = address.partition("://")[2]
        return "/" + rest if self._scheme == "memory" else rest

    def _opened(self) -> Any:
        with self._lock:
            if self._files is None:
                import fsspec  # slow to import, and most projects only read folders

                try:
                    self._files = fsspec.filesystem(self._scheme, **_options(self._scheme))
                    self._files.retries = TRIES  # for s3fs and gcsfs, which otherwise retry for half a minute
                except ImportError:
                    package, extra = _EXTRA.get(self._scheme, (self._scheme, self._scheme))
                    raise ImageProblem(
                        f'needs the package {package}: install it with pip install "flywheel-labeling[{extra}]"'
                    ) from None
            return self._files


def asked(patience: Patience, address: str, request: Callable[[], T]) -> T:
    """Return the answer to a request. Any error becomes an ImageProblem or ImageAway that shows no secret."""
    where = _host(address)
    if patience.exhausted:
        raise ImageAway(f"cannot be read now, because {where} did not answer")
    try:
        answer = request()
    except ImageAway:
        patience.note(failed=True)
        raise
    except ImageProblem:
        patience.note(failed=False)
        raise
    except (FileNotFoundError, IsADirectoryError):
        patience.note(failed=False)
        raise ImageProblem("no longer exists") from None
    except PermissionError:
        patience.note(failed=False)  # the store may allow access to its other objects
        raise ImageAway(f"cannot be read, because {where} denies access: check the credentials") from None
    except Exception as error:  # each store raises its own errors
        if isinstance(error, OSError) and error.errno == errno.EINVAL and "range" in str(error).lower():
            patience.note(failed=False)
            raise ImageProblem("is empty") from None
        if "credentials" in type(error).__name__.lower():
            patience.note(failed=False)
            raise ImageAway(f"cannot be read, because there are no credentials for {where}") from None
        patience.note(failed=True)
        raise ImageAway(f"cannot be read now, because {where} did not answer ({type(error).__name__})") from None
    patience.note(failed=False)
    return answer


def _host(address: str) -> str:
    parts = urlsplit(shown(address))
    return parts.netloc if parts.scheme in WEB else f"{parts.scheme}://{parts.netloc}"


def _options(scheme: str) -> dict[str, Any]:
    """Finite timeouts, and no cached listings: they would grow without limit and hide new objects."""
    options: dict[str, Any] = {"use_listings_cache": False}
    if scheme == "s3":
        options["config_kwargs"] = {
            "connect_timeout": CONNECT_SECONDS,
            "read_timeout": READ_SECONDS / 2,
            "retries": {"total_max_attempts": TRIES, "mode": "standard"},
            "max_pool_connections": 32,
        }
    return {} if scheme == "memory" else options


def _stamp(found: dict[str, Any]) -> Stamp:
    """The size, and the entity tag if the store has one, else the modification time."""
    size = int(found.get("size") or 0)
    for tag in ("ETag", "etag", "md5Hash", "content_md5", "blob_id"):
        if found.get(tag):
            return size, folded(found[tag]) or 1
    for name in ("LastModified", "last_modified", "updated", "mtime", "created"):
        if changed := found.get(name):  # its type differs between stores
            return size, folded(changed.timestamp() if isinstance(changed, datetime) else changed) or 1
    return size, 1
