"""Routes that send and receive image bytes; large images use neither all the memory nor the threads of other routes.

A large original is sent in pieces from its open file. Uploads and large images are decoded by threads of their own, so
that waiting for them blocks no other route.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import BinaryIO, TypeVar

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from labeler.errors import Busy
from labeler.images.file_index import MEDIA_TYPES, UNKNOWN_TYPE
from labeler.service import Service
from shared.web.answers import StrictRoute, refusals
from shared.web.answers import content as holds
from shared.wire.fields import Id
from shared.wire.images import ImageReceipt

UPLOADS = 3
"""Uploads processed at once; further ones wait on the disk."""
PIECE = 1_000_000
MOMENT = 1.5
"""Seconds for which a request waits for an image from a remote store. A browser waits for six images at a time."""
ORIGINAL_SECONDS = 30.0
T = TypeVar("T")


class Uploading:
    """Accepts uploads, one file of a request after another, so that only one is in memory."""

    def __init__(self) -> None:
        self._threads = CapacityLimiter(UPLOADS)

    async def __call__(self, service: Service, uploads: Sequence[UploadFile]) -> ImageReceipt:
        """Add the uploaded images; waits for its turn without using a thread."""
        most = service.files.limits.max_bytes + 1  # one byte more shows that the file is too large
        files = ((each.filename or "upload", each.file.read(most)) for each in uploads)
        return await to_thread.run_sync(service.arrivals.add_uploads, files, limiter=self._threads)


def image_routes(service: Service) -> APIRouter:
    """Create the routes of one labeler."""
    api = APIRouter(route_class=StrictRoute)
    sizes = list(service.thumbnails.sizes)
    for_large = CapacityLimiter(max(os.cpu_count() or 1, 2))

    @api.get(
        "/images/{image_id}/content",
        responses=holds("image/*", UNKNOWN_TYPE) | refusals(304, 404, 410),
        response_class=Response,
    )
    async def content(image_id: Id, request: Request) -> Response:
        """The original file."""
        located = await run_in_threadpool(service.catalog.locate, image_id)
        headers, known = _caching(request, located.sha256, "private, max-age=3600")
        if known:
            return Response(status_code=304, headers=headers)
        media_type = MEDIA_TYPES.get(located.format, UNKNOWN_TYPE)
        original = await run_in_threadpool(service.far.original, located, image_id)
        if isinstance(original, Future):
            original = await _arrived(original, ORIGINAL_SECONDS)
        if isinstance(original, bytes):
            return Response(original, media_type=media_type, headers=headers)
        headers["Content-Length"] = str(os.fstat(original.fileno()).st_size)
        return StreamingResponse(_pieces(original), media_type=media_type, headers=headers)

    @api.get(
        "/images/{image_id}/thumbnail", responses=holds("image/*") | refusals(304, 404, 410), response_class=Response
    )
    async def thumbnail(
        image_id: Id, request: Request, size: int = Query(320, json_schema_extra={"enum": sizes})
    ) -> Response:
        """A smaller copy. With `v`, a part of the hash, the address can be cached for ever."""
        made = await run_in_threadpool(service.quick_thumbnail, image_id, size)
        if isinstance(made, Future):
            made = await _arrived(made, MOMENT)
        elif made is None:
            made = await to_thread.run_sync(service.thumbnail, image_id, size, limiter=for_large)
        data, media_type, sha256 = made
        headers, known = _caching(request, f"{sha256}-{size}", "private, max-age=31536000, immutable")
        if known:
            return Response(status_code=304, headers=headers)
        return Response(data, media_type=media_type, headers=headers)

    return api


async def _arrived(coming: Future[T], seconds: float) -> T:
    """The result of a fetch from a remote store. Raises Busy after some seconds; the fetch continues."""
    waiting = asyncio.wrap_future(coming)
    done, _ = await asyncio.wait([waiting], timeout=seconds)
    if done:
        return waiting.result()
    waiting.add_done_callback(lambda late: late.cancelled() or late.exception())  # nobody waits for it any more
    raise Busy("The image is being fetched from its store: ask again in a moment.")


def _caching(request: Request, tag: str, caching: str) -> tuple[dict[str, str], bool]:
    """Headers of an answer, and whether the client already has this content."""
    headers = {"ETag": f'"{tag}"', "Cache-Control": caching, "X-Content-Type-Options": "nosniff"}
    return headers, f'"{tag}"' in request.headers.get("if-none-match", "")


def _pieces(stream: BinaryIO) -> Iterator[bytes]:
    with stream:
        while piece := stream.read(PIECE):
            yield piece
