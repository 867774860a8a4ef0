"""The names of timm's networks, read from its source: importing timm imports torch, which is slow and needs much
memory.

A wrong network name is thus reported at once, with suggestions. What each network needs is known only to the trainer,
which imports timm when it creates one.
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
    """Raise SettingsError with similar names if timm has no network `name`; without timm, nothing is checked.

    A weights tag after a dot (`resnet50.a1_in1k`) that the source does not name is checked when the weights are loaded.
    """
    known = names()
    if not known or name in known or name.partition(".")[0] in known:
        return
    raise SettingsError(f"timm has no network {name!r}.{suggestion(name)}")


def suggestion(name: str) -> str:
    """` Did you mean …?`, or "" if no name is similar."""
    near = get_close_matches(name, sorted(names()), n=NEAR)
    return f" Did you mean {' or '.join(near)}?" if near else ""


@cache
def names() -> frozenset[str]:
    """All names of networks, with and without a weights tag; empty without timm."""
    found = find_spec("timm")
    if found is None or not found.submodule_search_locations:
        return frozenset()
    sources = (Path(found.submodule_search_locations[0]) / "models").glob("*.py")
    texts = [source.read_text(encoding="utf-8") for source in sources]
    return frozenset(name for text in texts for form in (_MODEL, _WEIGHTS) for name in form.findall(text))
