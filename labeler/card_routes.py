"""The labeler's routes for the page Label alone: an image by its own address."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from labeler.addresses import Addresses
from shared.messages import Id, OpenedImage


def card_routes(addresses: Addresses) -> APIRouter:
    """The routes of the card."""
    routes = APIRouter()

    @routes.get("/images/{image_id}/question")
    def question(
        image_id: Id,
        annotator: Annotated[str, Query(min_length=1, max_length=200)],
        session: Annotated[str | None, Query(min_length=1, max_length=200)] = None,
    ) -> OpenedImage:
        """An image to look at or correct; 409 for one that is held out and not answered by the annotator."""
        return addresses.open(image_id, annotator, session or annotator)

    return routes
