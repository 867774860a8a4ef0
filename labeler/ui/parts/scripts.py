"""The JavaScript of the pages as the browser imports it: ES modules under `/api/ui/VERSION/`.

Streamlit gives each component one inline module, which the browser loads from a `blob:` address. Such a module has no
folder, so it cannot import `./lib/api.js`; it can import a full address. The inline module is therefore one line that
imports the component's real module from this route, and the real modules import each other by relative paths.

VERSION is a hash of all files. A browser may keep what it fetched for a year, and fetches anew after an upgrade.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

FOLDER: Final = Path(__file__).parents[1]
ROUTE: Final = "/api/ui/{version}/{module:path}"
_KEEP = {"Cache-Control": "private, max-age=31536000, immutable"}  # private: behind a token
_FILES = {path.relative_to(FOLDER).as_posix(): path.read_bytes() for path in sorted(FOLDER.rglob("*.js"))}
_ALL = b"".join(name.encode() + b"\0" + text for name, text in _FILES.items())
UNMOUNTED: Final = "<style data-unmounted>[data-unmounted] ~ section { visibility: hidden }</style>"
"""Begins the HTML of a component."""
VERSION: Final = hashlib.sha256(_ALL).hexdigest()[:12]


def loader(module: str) -> str:
    """The inline module of a component: it mounts what `module` (a path below this folder) exports.

    A component is invisible until then (`UNMOUNTED`), because its buttons would do nothing.
    """
    if module not in _FILES:
        raise FileNotFoundError(f"There is no {module} in {FOLDER}.")
    address = f"/api/ui/{VERSION}/{module}"
    return (
        f'const {{ default: mount }} = await import(location.origin + "{address}");\n'
        "export default (component) => {\n"
        "  const unmount = mount(component);\n"
        "  component.parentElement.querySelector('[data-unmounted]')?.remove();\n"
        "  return unmount;\n"
        "};\n"
    )


async def script(request: Request) -> Response:
    """Answer with a module, from memory."""
    module = request.path_params["module"]
    if request.path_params["version"] != VERSION or module not in _FILES:
        return PlainTextResponse("There is no such module. Reload the page.", 404)
    return Response(_FILES[module], media_type="text/javascript; charset=utf-8", headers=_KEEP)
