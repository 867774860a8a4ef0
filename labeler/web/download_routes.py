"""The labeler's routes for downloads: the size and progress of exports, and the trainer's model files.

A browser may not reach the trainer, so its model files are passed through here, piece by piece.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse
from starlette.background import BackgroundTask

from labeler.service import Service
from labeler.transfer.rows.exported import Wanted
from shared.web.answers import StrictRoute, refusals
from shared.web.answers import content as holds
from shared.wire.dataset import DownloadList, ExportCount, ModelFormat, Prepared
from shared.wire.fields import Split, Status

Named = Annotated[str | None, Query(min_length=1)]
"""A class or an annotator."""


def download_routes(service: Service) -> APIRouter:
    """Create the routes for downloads."""
    routes = APIRouter(route_class=StrictRoute)

    @routes.get("/export/count")
    def export_count(
        split: Split | None = None, label: Named = None, annotator: Named = None, status: Status | None = None
    ) -> ExportCount:
        """The number of images in an export with these filters."""
        return service.exports.count(Wanted(split=split, label=label, annotator=annotator, status=status))

    @routes.get("/downloads")
    def downloads() -> DownloadList:
        """Downloads in progress, and those of the last minute."""
        return DownloadList(downloads=service.downloads.list())

    @routes.get("/models/{version}/export", responses=holds("application/octet-stream") | refusals(404, 409, 503))
    def model(version: str, format: ModelFormat = "safetensors") -> StreamingResponse:
        """Export a saved version. Passes through `GET /models/{version}/export` of the trainer."""
        file = service.trainer.model_file(version, format)
        running = service.downloads.begin(file.name, "byte", file.bytes)
        headers = {"Content-Disposition": f'attachment; filename="{file.name}"'}
        if file.bytes is not None:
            headers["Content-Length"] = str(file.bytes)
        stream = service.downloads.counted(file.pieces, running)
        # The client may also leave before the first piece is read.
        closing = BackgroundTask(file.close)
        return StreamingResponse(stream, media_type="application/octet-stream", headers=headers, background=closing)

    @routes.post("/models/{version}/export", responses=refusals(404, 409, 503))
    def prepare(version: str, format: ModelFormat = "safetensors") -> Prepared:
        """Let the trainer prepare the file, which takes minutes for a large network. Then a download starts at once."""
        running = service.downloads.begin(f"{version}, {format}", "byte")
        running.state = "making"
        try:
            file = service.trainer.model_file(version, format)
            file.close()
        except Exception as problem:
            running.end(str(problem))
            raise
        running.end()
        return Prepared(name=file.name, bytes=file.bytes or 0)

    return routes
