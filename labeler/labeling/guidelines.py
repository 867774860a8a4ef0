"""What annotators should know: one text of the project in Markdown, edited on the page Label and shown there.

It is rendered here, by a library, so that every page shows the same. Nothing that somebody typed becomes markup: HTML
is shown as text, images are left out (they would be asked from other hosts), and no link runs a script.
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
    """Those of one workspace. `changed()` tells open pages."""

    def __init__(self, store: Store, changed: Callable[[], None] = lambda: None) -> None:
        self._store = store
        self._changed = changed
        with store.read() as connection:
            found = connection.execute(select(META.c.value).where(META.c.key == _KEY)).scalar()
        self._view = _view(_Kept.model_validate_json(found)) if found is not None else GuidelinesView()

    @property
    def view(self) -> GuidelinesView:
        """As they are now."""
        return self._view

    def change(self, patch: GuidelinesPatch) -> GuidelinesView:
        """Let this be the text. Raises Conflict when it is not the one that was edited."""
        with self._store.lock:
            if patch.as_of not in (None, self._view.mark):
                raise Conflict(
                    f"{self._view.annotator} has changed the guidelines meanwhile: copy your text and edit them anew."
                )
            kept = _Kept(text=patch.text.strip(), annotator=patch.annotator, changed_at=datetime.now(UTC))
            with self._store.write() as connection:
                connection.execute(META.delete().where(META.c.key == _KEY))
                connection.execute(META.insert().values(key=_KEY, value=kept.model_dump_json()))
            self._view = _view(kept)
        self._changed()
        return self._view


def rendered(text: str) -> str:
    """Markdown as HTML that is safe to show."""
    return str(_MARKDOWN.render(text))


def _view(kept: _Kept) -> GuidelinesView:
    mark = blake2b(kept.text.encode(), digest_size=8).hexdigest() if kept.text else ""
    return GuidelinesView(html=rendered(kept.text), mark=mark, **kept.model_dump())


def _link(
    self: RendererHTML, tokens: Sequence[Token], place: int, options: OptionsDict, env: MutableMapping[str, Any]
) -> str:
    """A link leaves the page that is labeled on open, and tells its target nothing."""
    tokens[place].attrSet("target", "_blank")
    tokens[place].attrSet("rel", "noopener noreferrer")
    return self.renderToken(tokens, place, options, env)


_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"]).disable("image")
_MARKDOWN.add_render_rule("link_open", _link)
