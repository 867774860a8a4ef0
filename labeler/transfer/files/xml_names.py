"""Names in XML: characters that it cannot hold, such as most control characters, are percent-encoded, and decoded when
read."""

from __future__ import annotations

import re

from shared.storage.safe_names import quoted, unquoted

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def written(name: str) -> str:
    """`name` in a form that XML can hold: percent-encoded if it has a character that XML cannot hold, or looks
    encoded."""
    plain = name
    while (shorter := unquoted(plain)) != plain:
        plain = shorter
    if not _NO_XML.search(plain):
        return name
    return re.sub(f"%|{_NO_XML.pattern}", lambda found: quoted(found[0]), name)


def meant(text: str) -> str:
    """The name from which `written` made `text`; `text` itself if it is not one of these."""
    name = unquoted(text)
    return name if name != text and written(name) == text else text
