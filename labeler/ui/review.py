"""The page on which labels that may be wrong are judged, the most doubtful first."""

from __future__ import annotations

from labeler import service
from labeler.ui import components


def page() -> None:
    """Draw the page."""
    labeler = service.current()
    components.review(labeler.project(), labeler.settings)
