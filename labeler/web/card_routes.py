"""The labeler's routes for the page Label: images by URL or name, and the guidelines."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from labeler.images.image_names import ImageNames
from labeler.labeling.guidelines import Guidelines
from labeler.labeling.single_image import SingleImage
from shared.web.answers import StrictRoute, refusals
from shared.wire.fields import Id
from shared.wire.images import NamedImages, NamesPost
from shared.wire.project import GuidelinesPatch, GuidelinesView
from shared.wire.queries import OpenedImage


def card_routes(addresses: SingleImage, guidelines: Guidelines, names: ImageNames) -> APIRouter:
    """Create the routes of the card."""
    routes = APIRouter(route_class=StrictRoute)

    @routes.post("/images/named")
    def named(post: NamesPost) -> NamedImages:
        """Find images by file name, as imports do: by exact name, or else the only match."""
        return names.find(post.names)

    @routes.get("/images/{image_id}/question", responses=refusals(404, 409))
    def question(
        image_id: Id,
        annotator: Annotated[str, Query(min_length=1, max_length=200)],
        session: Annotated[str | None, Query(min_length=1, max_length=200)] = None,
    ) -> OpenedImage:
        """One image to look at or correct. 409: it is held out and this annotator has not answered it."""
        return addresses.open(image_id, annotator, session or annotator)

    @routes.get("/project/guidelines")
    def read_guidelines() -> GuidelinesView:
        """The guidelines for annotators, in Markdown and rendered."""
        return guidelines.view

    @routes.patch("/project/guidelines", responses=refusals(409))
    def change_guidelines(patch: GuidelinesPatch) -> GuidelinesView:
        """Change the guidelines. 409: somebody else changed them since `as_of`."""
        return guidelines.change(patch)

    return routes
