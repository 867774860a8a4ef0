"""Lists answered images whose file is missing. Their answers are kept.

An unanswered image leaves the project with its file, until the file is back (`catalog`). An answer is a person's work:
it stays in every count and export, and this list says which file is missing and why.
"""

from __future__ import annotations

from labeler.errors import Problem
from labeler.images.catalog import Catalog
from labeler.images.file_index import Files
from shared.wire.images import Rejection


def missing_images(catalog: Catalog, files: Files, limit: int = 1_000) -> list[Rejection]:
    """The first `limit` missing images, each with its last known file and what is wrong with it."""
    found = []
    for image_id in catalog.first_missing(limit):
        located = catalog.locate(image_id)
        _, uri = located.files[0]
        try:
            files.content(located)
        except Problem as problem:
            found.append(Rejection(uri=uri, reason=problem.detail))
        else:
            found.append(Rejection(uri=uri, reason="The file is back. The next scan will notice it."))
    return found
