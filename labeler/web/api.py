"""The labeler's HTTP routes under `/api`: each parses its request, calls the service, and answers. No logic here.

Routes are plain functions that run in threads, except for the upload, large images and the WebSocket. Every refusal is
a `labeler.errors.Problem`, which one handler turns into an answer.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import FastAPI, Query, Request, Response, WebSocket
from fastapi.responses import PlainTextResponse, RedirectResponse, StreamingResponse
from fastapi_offline import FastAPIOffline
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from labeler.errors import Invalid, Problem
from labeler.images.file_index import missing_images
from labeler.service import Service
from labeler.transfer.boxes.opening import FORMATS as BOX_FORMATS
from labeler.transfer.formats import FORMATS
from labeler.transfer.rows.exported import EXTRAS_PATTERN, Wanted, extras_named
from labeler.web.card_routes import card_routes
from labeler.web.download_routes import Named, download_routes
from labeler.web.image_routes import Uploading, image_routes
from labeler.web.label_file_routes import label_file_routes
from labeler.web.metrics import prometheus_text
from shared.settings.changing import body_of_changes
from shared.settings.project_file import whose
from shared.settings.services import LabelerSettings
from shared.storage.disk_errors import answer_for
from shared.web.answers import content as holds
from shared.web.answers import keep_to_schema, read_json, refusals, refused
from shared.web.server import API_PAGE
from shared.wire.dataset import (
    Restored,
    RestorePost,
    SnapshotDiff,
    SnapshotEntry,
    SnapshotList,
    SnapshotPost,
    SplitPart,
    SplitReceipt,
)
from shared.wire.evaluation import Evaluation, Progress, Stretch
from shared.wire.fields import Id, Split, Status
from shared.wire.images import (
    MAX_GROUPS,
    MAX_TILES,
    Drawn,
    GroupViews,
    Ids,
    ImagePage,
    ImagePost,
    ImageReceipt,
    Listing,
    Map,
    Rejection,
    SimilarImages,
    Tiles,
    View,
)
from shared.wire.imports import ImportPost, ImportReceipt
from shared.wire.log import AnnotationPage, AnnotationPost, AnnotationReceipt, Person, Undo, UndoReceipt
from shared.wire.project import ClassEntry, ClassPatch, ClassPost, Project, SettingView
from shared.wire.queries import QueryPush, QueryReceipt, QueuePage, TestRates
from shared.wire.review import AcceptPost, Agreement, DisagreementPage, Oddities, ReviewPage

MAX_UPLOADS = 10_000
_UPLOAD_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": ImagePost.model_json_schema()},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["images"],
                    "properties": {"images": {"type": "array", "items": {"type": "string", "format": "binary"}}},
                }
            },
        },
    }
}


def create_api(service: Service) -> FastAPI:
    """Create the routes of one labeler."""
    api = FastAPIOffline("/docs", None, title="Flywheel labeler", version=_version(), swagger_ui_parameters=API_PAGE)
    api.add_api_route("/redoc", lambda: RedirectResponse("docs"), include_in_schema=False)
    api.add_exception_handler(Problem, _problem)
    keep_to_schema(api)
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
    async def health() -> dict[str, str]:  # async: a health check must not take a thread
        """Say that the labeler is running."""
        return {"status": "ok", "version": _version()}

    @api.get("/metrics", response_class=PlainTextResponse)
    def metrics() -> Response:
        """The metrics as Prometheus text."""
        return Response(prometheus_text(service), media_type="text/plain; version=0.0.4")

    @api.get("/project")
    def project() -> Project:
        """The state of the project: log, classes, images, splits, trainer, queue."""
        return service.project().model_copy(update=whose(service.settings.workspace))

    @api.post("/classes", responses=refusals(409), status_code=201)
    def add_class(post: ClassPost) -> ClassEntry:
        """Add a class."""
        return service.classes.add(post.name, post.annotator)

    @api.patch("/classes/{class_id}", responses=refusals(404, 409))
    def change_class(class_id: Id, patch: ClassPatch) -> ClassEntry:
        """Rename a class, merge it into another, or change its colour, description, key or place."""
        return service.classes.change(class_id, patch)

    @api.delete("/classes/{class_id}", responses=refusals(404), status_code=204)
    def delete_class(class_id: Id, annotator: Annotated[str, Query(min_length=1, max_length=200)] = "api") -> None:
        """Delete a class. Its images lose the label and return to the queue."""
        service.classes.delete(class_id, annotator)

    @api.get("/progress")
    def progress() -> Progress:
        """All evaluations, and the label counts per class."""
        return service.progress()

    @api.get("/history")
    def history() -> list[Stretch]:
        """How often each class was given over time, in stretches of equal length."""
        return service.history()

    @api.get("/settings")
    def settings() -> dict[str, SettingView]:
        """Every setting: its value, its source, and whether it may be changed now."""
        return service.running.show()

    @api.patch("/settings", openapi_extra=body_of_changes(LabelerSettings))
    def change_settings(patch: dict[str, Any]) -> dict[str, SettingView]:
        """Change settings of the running labeler. The project keeps them; the settings files stay as they are."""
        return service.running.change(patch)

    media_types = {each.media_type for each in FORMATS.values()} | {each.media_type for each in BOX_FORMATS.values()}

    @api.get("/export", responses=holds(*media_types) | refusals(404, 409, 503))
    def export(
        format: Annotated[str, Query(json_schema_extra={"enum": sorted({*FORMATS, *BOX_FORMATS})})] = "csv",
        include: Annotated[str, Query(json_schema_extra={"pattern": EXTRAS_PATTERN})] = "annotators",
        split: Split | None = None,
        label: Named = None,
        annotator: Named = None,
        status: Status | None = None,
        snapshot: str | None = None,
    ) -> StreamingResponse:
        """Export labels in a standard format, streamed. Filters choose the images; `include` adds columns."""
        extras = extras_named([name.strip() for name in include.split(",") if name.strip()])
        wanted = Wanted(split=split, label=label, annotator=annotator, status=status)
        stream, chosen = service.exports.begin(format, wanted=wanted, extras=extras, snapshot=snapshot)
        headers = {"Content-Disposition": f'attachment; filename="flywheel-labels.{chosen.suffix}"'}
        return StreamingResponse(stream, media_type=chosen.media_type, headers=headers)

    @api.get("/snapshots")
    def snapshots() -> SnapshotList:
        """All snapshots of labels and splits, oldest first."""
        return SnapshotList(snapshots=service.snapshots.entries())

    @api.post("/snapshots", responses=refusals(409))
    def name_snapshot(post: SnapshotPost) -> SnapshotEntry:
        """Save the current labels and splits under a name. 409: the name is taken."""
        return service.snapshots.save(post)

    @api.get("/snapshots/{name}/diff", responses=refusals(404))
    def diff(name: str, to: str | None = None, limit: Annotated[int, Query(ge=1, le=10_000)] = 100) -> SnapshotDiff:
        """The differences between a snapshot and another one, or the current state."""
        return service.snapshots.diff(name, to, limit)

    @api.post("/snapshots/{name}/restore", responses=refusals(404))
    def restore(name: str, post: RestorePost) -> Restored:
        """Restore the labels and splits of a snapshot. The log keeps everything."""
        return service.snapshots.restore(name, post.annotator, dry_run=post.dry_run)

    @api.post("/splits", responses=refusals(409))
    def splits(post: SplitPart) -> SplitReceipt:
        """Draw new splits. Images that were answered here stay in theirs. Groups may be sent in parts."""
        return service.splitting.take(post)

    @api.websocket("/events")
    async def events(page: WebSocket) -> None:
        """Push counts, queue version and trainer state whenever they change, at most ten times a second."""
        await service.events.serve(page)


def _image_routes(api: FastAPI, service: Service) -> None:
    take = Uploading()

    @api.get("/images")
    def images(after: Id = 0, limit: Annotated[int, Query(ge=1, le=10_000)] = 1_000) -> ImagePage:
        """Images, in the order of their last change."""
        return service.catalog.page(after, limit)

    @api.post("/images", openapi_extra=_UPLOAD_BODY)
    async def add_images(request: Request) -> ImageReceipt:
        """Add images by URI (JSON) or upload (multipart)."""
        if request.headers.get("content-type", "").startswith("multipart/form-data"):
            async with request.form(max_files=MAX_UPLOADS) as form:
                uploads = [each for _, each in form.multi_items() if isinstance(each, UploadFile)]
                if not uploads:
                    raise Invalid("The form needs image files, in fields named images.")
                return await take(service, uploads)
        post = await read_json(request, ImagePost)
        return await run_in_threadpool(service.arrivals.add_uris, post.uris)

    @api.get("/images/rejected")
    def rejected() -> list[Rejection]:
        """Files that cannot be used as images, with the reasons."""
        return service.catalog.files.rejections()

    @api.get("/images/missing")
    def missing() -> list[Rejection]:
        """Answered images whose file is missing, with the reasons. Their answers are kept."""
        return missing_images(service.catalog, service.files)

    @api.get("/images/{image_id}/similar", responses=refusals(404))
    def similar(image_id: Id) -> SimilarImages:
        """Similar images with their labels. Empty for a held-out image, and while the trainer has no embeddings."""
        return SimilarImages(images=service.reminder.of(image_id))


def _labeling_routes(api: FastAPI, service: Service) -> None:
    @api.get("/queue")
    def queue(
        annotator: Annotated[str, Query(min_length=1, max_length=200)],
        session: Annotated[str | None, Query(min_length=1, max_length=200)] = None,
        limit: Annotated[int, Query(ge=0, le=200)] = 1,
        keep: Annotated[Ids, Query()] = [],  # noqa: B006 - never modified
    ) -> QueuePage:
        """Lease the next images to a page. `keep`: ids that the page still holds, separated by commas."""
        return service.serve(annotator, session, limit, keep)

    @api.post("/annotations", responses=refusals(409))
    def annotate(post: AnnotationPost, log_id: UUID | None = None) -> AnnotationReceipt:
        """Write answers, all or none. They are on disk when this responds. A `log_id` must be this project's.

        In a multi-label project, an `answer` with `"merge": true` changes only the classes that it names.
        """
        return service.annotate(post.annotations, log_id)

    @api.get("/annotations")
    def annotations(after: Id = 0, limit: Annotated[int, Query(ge=1, le=5_000)] = 1_000) -> AnnotationPage:
        """The rows of the annotation log after a `seq`; fewer than `limit` if they are long. Continue with the last."""
        return service.log.page(after, limit)

    @api.post("/import", responses=refusals(404, 409))
    def import_labels(post: ImportPost) -> ImportReceipt:
        """Import labels: all rows at once, or parts with one `import_id`. Repeated rows change nothing."""
        return service.imports.take(post)

    @api.get("/review", responses=refusals(409, 503))
    def review(limit: Annotated[int, Query(ge=1, le=200)] = 30) -> ReviewPage:
        """Doubtful labels that nobody has judged yet, worst first, and the progress of the review."""
        return service.review.page(limit)

    @api.get("/oddities")
    def oddities() -> Oddities:
        """Odd train images: near copies, dark, blurred, tiny or extreme ones. The first request measures them."""
        return service.oddities.lists()

    @api.post("/review/accept", responses=refusals(409, 503))
    def accept(post: AcceptPost) -> AnnotationReceipt:
        """Accept all confident proposals of at least this confidence, as one step of undo."""
        return service.review.accept(post)

    @api.post("/undo", responses=refusals(403, 404, 409))
    def undo(undo: Undo) -> UndoReceipt:
        """Undo an answer, or all answers of one Grid request. The (first) image is leased to the session."""
        return service.undo(undo)


def _gallery_routes(api: FastAPI, service: Service) -> None:
    gallery = service.gallery

    @api.get("/grid", responses=refusals(404, 409, 503))
    def grid(view: Annotated[View, Query()]) -> Listing:
        """The train images of a view of the Grid, in order. 404: there is no place `after` in its list."""
        return gallery.listing(view)

    @api.get("/grid/images")
    def tiles(
        ids: Annotated[Ids, Query(max_length=MAX_TILES)],
        annotator: Annotated[str, Query(min_length=1, max_length=200)] = "api",
    ) -> Tiles:
        """The current state of some Grid images. `ids` are separated by commas."""
        return gallery.tiles(ids, annotator)

    @api.get("/clusters", responses=refusals(409, 503))
    def clusters(count: Annotated[int, Query(ge=1, le=MAX_GROUPS)] = 20) -> GroupViews:
        """The train images in groups of similar images. 409 while the groups are computed."""
        return gallery.groups(count)

    @api.get("/map", responses=refusals(409, 503))
    def positions(layout: Drawn = "pca") -> Map:
        """2-D positions of the train images, as columns. PCA until `layout=umap` is ready. 409 until there is one."""
        return gallery.map(layout)


def _people_routes(api: FastAPI, service: Service) -> None:
    @api.get("/people")
    def people() -> list[Person]:
        """Everyone who ever answered, with their current pace."""
        return service.people()

    @api.get("/agreement")
    def agreement() -> Agreement:
        """Annotator agreement corrected for chance: overall, per pair and per class."""
        return service.disagreements.agreement()

    @api.get("/disagreements")
    def disagreements(
        kind: Literal["open", "settled"] = "open", limit: Annotated[int, Query(ge=1, le=500)] = 50
    ) -> DisagreementPage:
        """Images with different labels by different people, ties first. `kind=settled`: those already settled."""
        return service.disagreements.page(kind, limit)


def _trainer_routes(api: FastAPI, service: Service) -> None:
    @api.post("/queries", responses=refusals(409))
    def queries(push: QueryPush) -> QueryReceipt:
        """Receive a ranked list from the trainer."""
        return service.push(push)

    @api.post("/test-rates", responses=refusals(409), status_code=204)
    def test_rates(rates: TestRates) -> None:
        """Receive from the trainer how often each test image is to come, if `test_order` is active."""
        service.suggest_tests(rates)

    @api.post("/evaluations", responses=refusals(409), status_code=201)
    def evaluations(evaluation: Evaluation) -> dict[str, str]:
        """Store an evaluation of the trainer."""
        service.evaluate(evaluation)
        return {"id": str(evaluation.id)}


# ---------------------------------------------------------------- answers


async def _problem(request: Request, problem: Exception) -> Response:
    assert isinstance(problem, Problem)  # noqa: S101 - registered only for it
    return refused(request, problem.status, problem.detail, **problem.fields)


def _version() -> str:
    try:
        return version("flywheel-labeling")
    except PackageNotFoundError:  # run from a checkout without installation
        return "0+checkout"
