"""The labeler's HTTP routes, served under `/api`: each parses, calls the service, and answers. Nothing is decided here.

Routes are plain functions that run in threads, but for the upload, large images and the WebSocket; every refusal is a
`labeler.problems.Problem` and becomes an answer in one place.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import FastAPI, Query, Request, Response, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, StreamingResponse
from fastapi_offline import FastAPIOffline
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from labeler.card_routes import card_routes
from labeler.download_routes import download_routes
from labeler.formats.rows import Wanted, extras_named
from labeler.image_routes import Uploading, image_routes
from labeler.label_file_routes import label_file_routes
from labeler.missing import missing_images
from labeler.problems import Invalid, Problem
from labeler.service import Service
from labeler.telemetry import prometheus_text
from shared.dataset import (
    Restored,
    RestorePost,
    SnapshotDiff,
    SnapshotEntry,
    SnapshotList,
    SnapshotPost,
    SplitPart,
    SplitReceipt,
)
from shared.disk import answer_for
from shared.gallery import MAX_GROUPS, MAX_TILES, Drawn, GroupViews, Ids, Listing, Map, Tiles, View
from shared.log import Status
from shared.messages import (
    AnnotationPage,
    AnnotationPost,
    AnnotationReceipt,
    ClassEntry,
    ClassPatch,
    ClassPost,
    Evaluation,
    Id,
    ImagePage,
    ImagePost,
    ImageReceipt,
    ImportPost,
    ImportReceipt,
    Person,
    Progress,
    Project,
    QueryPush,
    QueryReceipt,
    QueuePage,
    Rejection,
    SettingView,
    SimilarImages,
    Split,
    Stretch,
    Undo,
    UndoReceipt,
)
from shared.people import Agreement, DisagreementPage
from shared.project_file import whose
from shared.review import AcceptPost, Oddities, ReviewPage
from shared.serving import API_PAGE

MAX_UPLOADS = 10_000
_UPLOAD_BODY = {
    "requestBody": {
        "content": {
            "application/json": {"schema": ImagePost.model_json_schema()},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"images": {"type": "array", "items": {"type": "string", "format": "binary"}}},
                }
            },
        }
    }
}


def create_api(service: Service) -> FastAPI:
    """The routes of one labeler."""
    api = FastAPIOffline("/docs", None, title="Flywheel labeler", version=_version(), swagger_ui_parameters=API_PAGE)
    api.add_api_route("/redoc", lambda: RedirectResponse("docs"), include_in_schema=False)
    api.add_exception_handler(Problem, _problem)
    api.add_exception_handler(RequestValidationError, _unreadable)
    api.add_exception_handler(HTTPException, _plain)
    answer_for(api, service.disk)
    _project_routes(api, service)
    _image_routes(api, service)
    _labeling_routes(api, service)
    _gallery_routes(api, service)
    _people_routes(api, service)
    _trainer_routes(api, service)
    api.include_router(label_file_routes(service.label_files))
    api.include_router(download_routes(service))
    api.include_router(image_routes(service))
    api.include_router(card_routes(service.addresses, service.guidelines, service.imports.image_names))
    return api


def _project_routes(api: FastAPI, service: Service) -> None:
    @api.get("/health")
    def health() -> dict[str, str]:
        """Whether the labeler answers."""
        return {"status": "ok", "version": _version()}

    @api.get("/metrics")
    def metrics() -> Response:
        """Prometheus text."""
        return Response(prometheus_text(service), media_type="text/plain; version=0.0.4")

    @api.get("/project")
    def project() -> Project:
        """Where the project stands."""
        return service.project().model_copy(update=whose(service.settings.workspace))

    @api.post("/classes", status_code=201)
    def add_class(post: ClassPost) -> ClassEntry:
        """Add a class."""
        return service.classes.add(post.name, post.annotator)

    @api.patch("/classes/{class_id}")
    def change_class(class_id: int, patch: ClassPatch) -> ClassEntry:
        """Rename a class, merge it into another, or change its colour, description, key or place."""
        return service.classes.change(class_id, patch)

    @api.delete("/classes/{class_id}", status_code=204)
    def delete_class(class_id: int, annotator: Annotated[str, Query(min_length=1, max_length=200)] = "api") -> None:
        """Delete a class; its images are asked again."""
        service.classes.delete(class_id, annotator)

    @api.get("/progress")
    def progress() -> Progress:
        """All evaluations and label counts."""
        return service.progress()

    @api.get("/history")
    def history() -> list[Stretch]:
        """Which classes were given when, in stretches of equal length."""
        return service.history()

    @api.get("/settings")
    def settings() -> dict[str, SettingView]:
        """Every setting with its value, its source and whether it may be changed now."""
        return service.running.show()

    @api.patch("/settings")
    def change_settings(patch: dict[str, Any]) -> dict[str, SettingView]:
        """Change settings until the labeler ends; its files stay as they are."""
        return service.running.change(patch)

    @api.get("/export")
    def export(
        format: str = "csv",
        include: str = "annotators",
        split: Split | None = None,
        label: str | None = None,
        annotator: str | None = None,
        status: Status | None = None,
        snapshot: str | None = None,
    ) -> StreamingResponse:
        """The labels in a standard format, streamed; of the images asked for, and with what `include` names."""
        extras = extras_named([name.strip() for name in include.split(",") if name.strip()])
        wanted = Wanted(split=split, label=label, annotator=annotator, status=status)
        stream, chosen = service.export(format, wanted=wanted, extras=extras, snapshot=snapshot)
        headers = {"Content-Disposition": f'attachment; filename="flywheel-labels.{chosen.suffix}"'}
        return StreamingResponse(stream, media_type=chosen.media_type, headers=headers)

    @api.get("/snapshots")
    def snapshots() -> SnapshotList:
        """Named versions of labels and splits, oldest first."""
        return SnapshotList(snapshots=service.snapshots.entries())

    @api.post("/snapshots")
    def name_snapshot(post: SnapshotPost) -> SnapshotEntry:
        """Name the labels and splits of now; 409 when the name is taken."""
        return service.snapshots.save(post)

    @api.get("/snapshots/{name}/diff")
    def diff(name: str, to: str | None = None, limit: Annotated[int, Query(ge=1, le=10_000)] = 100) -> SnapshotDiff:
        """What differs between a snapshot and another, or now."""
        return service.snapshots.diff(name, to, limit)

    @api.post("/snapshots/{name}/restore")
    def restore(name: str, post: RestorePost) -> Restored:
        """Let labels and splits be those of the snapshot again; the log keeps all that was there."""
        return service.snapshots.restore(name, post.annotator, dry_run=post.dry_run)

    @api.post("/splits")
    def splits(post: SplitPart) -> SplitReceipt:
        """Draw train, validation and test anew; what was answered here stays where it is. Groups may come in parts."""
        return service.splitting.take(post)

    @api.websocket("/events")
    async def events(page: WebSocket) -> None:
        await service.events.serve(page)


def _image_routes(api: FastAPI, service: Service) -> None:
    take = Uploading()

    @api.get("/images")
    def images(after: Id = 0, limit: Annotated[int, Query(ge=1, le=10_000)] = 1_000) -> ImagePage:
        """Images in order of change."""
        return service.catalog.page(after, limit)

    @api.post("/images", openapi_extra=_UPLOAD_BODY)
    async def add_images(request: Request) -> ImageReceipt:
        """Add images by URI (JSON) or by upload (multipart)."""
        if request.headers.get("content-type", "").startswith("multipart/form-data"):
            async with request.form(max_files=MAX_UPLOADS) as form:
                return await take(service, [each for _, each in form.multi_items() if isinstance(each, UploadFile)])
        try:
            post = ImagePost.model_validate_json(await request.body())
        except ValidationError as error:
            raise Invalid(_sentence(error.errors())) from None
        return await run_in_threadpool(service.arrivals.add_uris, post.uris)

    @api.get("/images/rejected")
    def rejected() -> list[Rejection]:
        """Files that could not be taken, and why."""
        return service.catalog.rejections()

    @api.get("/images/missing")
    def missing() -> list[Rejection]:
        """Images that somebody answered and whose file is not found any more, and why. Their answers are kept."""
        return missing_images(service.catalog, service.files)

    @api.get("/images/{image_id}/similar")
    def similar(image_id: Id) -> SimilarImages:
        """How images like this one were labeled; none for a held-out image, and while the trainer cannot say."""
        return SimilarImages(images=service.reminder.of(image_id))


def _labeling_routes(api: FastAPI, service: Service) -> None:
    @api.get("/queue")
    def queue(
        annotator: Annotated[str, Query(min_length=1, max_length=200)],
        session: Annotated[str | None, Query(min_length=1, max_length=200)] = None,
        limit: Annotated[int, Query(ge=0, le=200)] = 1,
        keep: Annotated[list[str] | None, Query()] = None,
    ) -> QueuePage:
        """Lease the next images to a page; `keep` are those that it still holds, separated by commas."""
        return service.serve(annotator, session, limit, _ids(keep or []))

    @api.post("/annotations")
    def annotate(post: AnnotationPost, log_id: UUID | None = None) -> AnnotationReceipt:
        """Write answers, all or none; on disk when this answers. A `log_id`, if given, must be this project's."""
        return service.annotate(post.annotations, log_id)

    @api.get("/annotations")
    def annotations(after: Id = 0, limit: Annotated[int, Query(ge=1, le=5_000)] = 1_000) -> AnnotationPage:
        """The annotation log after a `seq`."""
        return service.log.page(after, limit)

    @api.post("/import")
    def import_labels(post: ImportPost) -> ImportReceipt:
        """Labels brought along: all rows, or parts with one `import_id`. The same rows sent again change nothing."""
        return service.imports.take(post)

    @api.get("/review")
    def review(limit: Annotated[int, Query(ge=1, le=200)] = 30) -> ReviewPage:
        """Labels that the trainer doubts and nobody has judged yet, worst first, with how far the review is."""
        return service.review.page(limit)

    @api.get("/oddities")
    def oddities() -> Oddities:
        """Train images to look at: copies that should not be, dark, blurred, tiny, extreme; measured once asked for."""
        return service.oddities.lists()

    @api.post("/review/accept")
    def accept(post: AcceptPost) -> AnnotationReceipt:
        """Take the proposals of all confident doubts of at least this confidence: one step of undo."""
        return service.review.accept(post)

    @api.post("/undo")
    def undo(undo: Undo) -> UndoReceipt:
        """Take an answer back, or all those of one post from the grid; the (first) image is leased to the session."""
        return service.undo(undo)


def _gallery_routes(api: FastAPI, service: Service) -> None:
    gallery = service.gallery

    @api.get("/grid")
    def grid(view: Annotated[View, Query()]) -> Listing:
        """Which train images a view of the grid holds, in order."""
        return gallery.listing(view)

    @api.get("/grid/images")
    def tiles(
        ids: Annotated[Ids, Query(max_length=MAX_TILES)],
        annotator: Annotated[str, Query(min_length=1, max_length=200)] = "api",
    ) -> Tiles:
        """Some images of the grid as they are now; `ids` separated by commas."""
        return gallery.tiles(ids, annotator)

    @api.get("/clusters")
    def clusters(count: Annotated[int, Query(ge=1, le=MAX_GROUPS)] = 20) -> GroupViews:
        """The train images in groups of similar images; 409 while they are worked out."""
        return gallery.groups(count)

    @api.get("/map")
    def positions(layout: Drawn = "pca") -> Map:
        """Where the train images lie, as columns; by PCA while `layout=umap` is worked out. 409 until there is one."""
        return gallery.map(layout)


def _people_routes(api: FastAPI, service: Service) -> None:
    @api.get("/people")
    def people() -> list[Person]:
        """Everyone who ever answered, with how fast they are now."""
        return service.people()

    @api.get("/agreement")
    def agreement() -> Agreement:
        """How far annotators agree beyond chance: overall, of each pair, on each class."""
        return service.disagreements.agreement()

    @api.get("/disagreements")
    def disagreements(
        kind: Literal["open", "settled"] = "open", limit: Annotated[int, Query(ge=1, le=500)] = 50
    ) -> DisagreementPage:
        """Images for which annotators gave different classes, ties first; `kind=settled` those that are settled."""
        return service.disagreements.page(kind, limit)


def _trainer_routes(api: FastAPI, service: Service) -> None:
    @api.post("/queries")
    def queries(push: QueryPush) -> QueryReceipt:
        """Take a ranked list from the trainer."""
        return service.push(push)

    @api.post("/evaluations", status_code=201)
    def evaluations(evaluation: Evaluation) -> dict[str, str]:
        """Keep an evaluation of the trainer."""
        service.evaluate(evaluation)
        return {"id": str(evaluation.id)}


# ---------------------------------------------------------------- answers


async def _problem(_request: Request, problem: Exception) -> Response:
    assert isinstance(problem, Problem)  # noqa: S101 - registered for it alone
    return JSONResponse({"detail": problem.detail, **problem.fields}, problem.status)


async def _unreadable(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for it alone
    return JSONResponse({"detail": _sentence(error.errors())}, 422)


async def _plain(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it alone
    return JSONResponse({"detail": error.detail}, error.status_code, headers=error.headers)


def _sentence(errors: Any) -> str:
    first = errors[0]
    where = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path"))
    message = str(first["msg"]).removeprefix("Value error, ")
    return f"The request's {where} cannot be so: {message}." if where else f"The request cannot be read: {message}."


def _ids(given: list[str]) -> list[int]:
    try:
        return [int(part) for text in given for part in text.split(",") if part.strip()]
    except ValueError:
        raise Invalid("The request's keep cannot be so: it is a list of image ids like 3,17,4.") from None


def _version() -> str:
    try:
        return version("flywheel-labeling")
    except PackageNotFoundError:  # run from a checkout that was not installed
        return "0+checkout"
