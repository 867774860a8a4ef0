"""Turns class names into captions, with the prompts of the setting `text_prompts`.

An entry with `{}` is a template for all classes. An entry `CLASS = WORDS` gives a class its own words, which then
replace the name in the templates.
"""

from __future__ import annotations

from collections.abc import Sequence

PLACE = "{}"


def prompts_for(name: str, settings: Sequence[str]) -> list[str]:
    """The prompts of the class `name`, at least one."""
    templates = [each for each in settings if PLACE in each]
    own = [words.strip() for each in settings if PLACE not in each for words in _own(each, name)]
    return [template.replace(PLACE, words) for template in templates or [PLACE] for words in own or [name]]


def _own(entry: str, name: str) -> list[str]:
    whose, equals, words = entry.partition("=")
    return [words] if equals and words.strip() and whose.strip().casefold() == name.casefold() else []
