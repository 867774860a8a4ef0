"""The guidelines for annotators: one Markdown text per project, edited and shown on the page Label.

A library renders the text here, so that every page shows the same. The text cannot contain active content: HTML is
shown as text, images are left out (they would be requested from other hosts), and links cannot run scripts.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import OptionsDict
from pydantic import BaseModel
from sqlalchemy import select

from labeler.errors import Conflict
from labeler.store.database import Store
from labeler.store.tables import META
from shared.wire.project import GuidelinesPatch, GuidelinesView

_KEY = "guidelines"


class _Kept(BaseModel):
    text: str
    annotator: str
    changed_at: datetime


class Guidelines:
    """The guidelines of one workspace. `changed()` notifies open pages."""

    def __init__(self, store: Store, changed: Callable[[], None] = lambda: None) -> None:
        self._store = store
        self._changed = changed
        with store.read() as connection:
            found = connection.execute(select(META.c.value).where(META.c.key == _KEY)).scalar()
        self._view = _view(_Kept.model_validate_json(found)) if found is not None else GuidelinesView()

    @property
    def view(self) -> GuidelinesView:
        """The current guidelines."""
        return self._view

    def change(self, patch: GuidelinesPatch) -> GuidelinesView:
        """Replace the text. Raises Conflict if it was changed since the version that was edited."""
        with self._store.lock:
            if patch.as_of not in (None, self._view.mark):
                raise Conflict(
                    f"{self._view.annotator} changed the guidelines in the meantime: copy your text and edit again."
                )
            kept = _Kept(text=patch.text.strip(), annotator=patch.annotator, changed_at=datetime.now(UTC))
            with self._store.write() as connection:
                connection.execute(META.delete().where(META.c.key == _KEY))
                connection.execute(META.insert().values(key=_KEY, value=kept.model_dump_json()))
            self._view = _view(kept)
        self._changed()
        return self._view


def rendered(text: str) -> str:
    """Render Markdown as safe HTML."""
    return str(_MARKDOWN.render(text))


def _view(kept: _Kept) -> GuidelinesView:
    mark = blake2b(kept.text.encode(), digest_size=8).hexdigest() if kept.text else ""
    return GuidelinesView(html=rendered(kept.text), mark=mark, **kept.model_dump())


def _link(
    self: RendererHTML, tokens: Sequence[Token], place: int, options: OptionsDict, env: MutableMapping[str, Any]
) -> str:
    """Open links in a new tab, without a referrer."""
    tokens[place].attrSet("target", "_blank")
    tokens[place].attrSet("rel", "noopener noreferrer")
    return self.renderToken(tokens, place, options, env)


_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"]).disable("image")
_MARKDOWN.add_render_rule("link_open", _link)
