"""Images that somebody answered and whose file is not found any more: their answers are kept, and they are listed.

What nobody answered leaves the project with its file, until that is back (`catalog`). An answer is a person's work: it
stays in every count and export, and whoever looks reads here which file is missing and why.
"""

from __future__ import annotations

from labeler.errors import Problem
from labeler.images.catalog import Catalog
from labeler.images.file_index import Files
from shared.wire.images import Rejection


def missing_images(catalog: Catalog, files: Files, limit: int = 1_000) -> list[Rejection]:
    """The first of them by the file that each went by last, and what is the matter with it."""
    found = []
    for image_id in catalog.first_missing(limit):
        located = catalog.locate(image_id)
        _, uri = located.files[0]
        try:
            files.content(located)
        except Problem as problem:
            found.append(Rejection(uri=uri, reason=problem.detail))
        else:
            found.append(Rejection(uri=uri, reason="It is back, and counts as here at the next scan."))
    return found
