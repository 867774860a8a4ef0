"""Which networks timm has, by its source alone: importing timm brings torch, which takes seconds and much memory.

Whoever asks for a network learns at once that its name is wrong, and what it may have been. What each network needs is
known to the trainer, which imports timm where it makes one.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from shared.settings.services import SettingsError

_MODEL = re.compile(r"^@register_model\s+def (\w+)\(", re.MULTILINE)
_WEIGHTS = re.compile(r"""^\s+['"](\w+\.\w+)['"]: """, re.MULTILINE)
NEAR = 3


def check_network(name: str) -> None:
    """Raise SettingsError, which proposes near names, when timm has no network `name`; without timm nothing is known.

    A tag of weights after a dot (`resnet50.a1_in1k`) is left to whoever loads them, where the source does not name it.
    """
    known = names()
    if not known or name in known or name.partition(".")[0] in known:
        return
    raise SettingsError(f"timm has no network {name!r}.{suggestion(name)}")


def suggestion(name: str) -> str:
    """` Did you mean …?`, or nothing where no name is near."""
    near = get_close_matches(name, sorted(names()), n=NEAR)
    return f" Did you mean {' or '.join(near)}?" if near else ""


@cache
def names() -> frozenset[str]:
    """Of networks, and of networks with weights; none without timm."""
    found = find_spec("timm")
    if found is None or not found.submodule_search_locations:
        return frozenset()
    sources = (Path(found.submodule_search_locations[0]) / "models").glob("*.py")
    texts = [source.read_text(encoding="utf-8") for source in sources]
    return frozenset(name for text in texts for form in (_MODEL, _WEIGHTS) for name in form.findall(text))
