"""The user's own functions, which settings name as `package.module:function`."""

from __future__ import annotations

import sys
from pathlib import Path
from pkgutil import resolve_name
from typing import Any


def own_function(name: str) -> Any:
    """The object of this name, from an installed package or from a module in the current folder.

    The current folder is searched last, and only from now on, so that a `random.py` among somebody's photos hides no
    other module.

    Raises ImportError, AttributeError or ValueError if there is none, and whatever the module raises.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    return resolve_name(name)
