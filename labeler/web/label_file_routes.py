"""The labeler's routes for label files that are given on a page."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from labeler.errors import Invalid
from labeler.transfer.label_files import LabelFiles
from shared.web.answers import StrictRoute, read_json, refusals
from shared.wire.imports import ColumnsPost, FolderPost, LabelFile, LabelFileImport, LabelFileList

_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": FolderPost.model_json_schema()},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}, "columns": {"type": "string"}},
                }
            },
        },
    }
}


def label_file_routes(files: LabelFiles) -> APIRouter:
    """Create the routes under /label-files."""
    routes = APIRouter(route_class=StrictRoute)

    @routes.get("/label-files")
    def label_files() -> LabelFileList:
        """Label files uploaded since the labeler started, newest first."""
        return LabelFileList(files=files.list())

    @routes.post("/label-files", status_code=202, openapi_extra=_BODY)
    async def add_label_file(request: Request) -> LabelFile:
        """Upload a label file (multipart, field `file`), or use the folders of uploads as classes (JSON).

        The file is checked, and no label is written until it is imported. A zip is unpacked, and its photos are added
        at once. The field `columns` names the columns of a table: `image=NAME,label=NAME`."""
        if request.headers.get("content-type", "").startswith("multipart/form-data"):
            async with request.form(max_files=1) as form:
                given = form.get("file")
                if not isinstance(given, UploadFile):
                    raise Invalid("The form needs a label file in a field named file.")
                columns = form.get("columns")
                said = columns if isinstance(columns, str) else ""
                return await run_in_threadpool(files.add, given.filename or "labels", given.file, said)
        post = await read_json(request, FolderPost)
        return await run_in_threadpool(files.add_folder, post.folder)

    @routes.get("/label-files/{file_id}", responses=refusals(404))
    def label_file(file_id: str) -> LabelFile:
        """One label file: its progress, and what its import would do or did."""
        return files.get(file_id)

    @routes.post("/label-files/{file_id}/import", responses=refusals(404, 409), status_code=202)
    def import_label_file(file_id: str, post: LabelFileImport) -> LabelFile:
        """Import a label file that has been checked."""
        return files.take(file_id, add_classes=post.add_classes, conflicts=post.conflicts)

    @routes.post("/label-files/{file_id}/columns", responses=refusals(404, 409), status_code=202)
    def name_columns(file_id: str, post: ColumnsPost) -> LabelFile:
        """Check a table again, with the named columns."""
        return files.look_again(file_id, post.columns)

    @routes.delete("/label-files/{file_id}", responses=refusals(404), status_code=204)
    def drop_label_file(file_id: str) -> None:
        """Remove a label file. Its imported labels stay."""
        files.drop(file_id)

    return routes
