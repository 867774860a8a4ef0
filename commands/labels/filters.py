"""Filters of images on the command line, such as `split=test label='red shoe'`. An image must match all of them."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable

from shared.settings.services import SettingsError


def parse_filter(texts: Iterable[str], option: str, names: Collection[str]) -> dict[str, str]:
    """Name → value of the filters of `option`. Only `names` are allowed. Raises SettingsError."""
    given: dict[str, str] = {}
    for part in (each for text in texts for each in _words(text, option)):
        name, equals, value = part.partition("=")
        if not equals or name not in names:
            example = "split=test" if "split" in names else "annotator=ann"
            raise SettingsError(f"{option} takes {', '.join(names)}, such as {example}, not {part!r}.")
        given[name] = value
    return given


def _words(text: str, option: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise SettingsError(f"{option} {text!r} cannot be read: {error}.") from None
