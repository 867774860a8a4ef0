"""The trainer's routes: each turns a request into one call of `Trainer`, and an error into a sentence with a status."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, overload

import numpy as np
from anyio import CapacityLimiter, to_thread
from fastapi import Body, Depends, FastAPI, Query, Request, Response, UploadFile
from fastapi.responses import JSONResponse, PlainTextResponse
from fastapi_offline import FastAPIOffline
from safetensors import SafetensorError
from starlette.datastructures import UploadFile as StarletteUpload

from shared.images.opening import ImageProblem
from shared.pool_predictions import MEDIA_TYPE
from shared.settings.changing import body_of_changes
from shared.settings.project_file import whose
from shared.settings.services import SettingsError, TrainerSettings
from shared.storage.disk_errors import Disk, answer_for, refusal
from shared.web.answers import keep_to_schema, read_json, refusals, refused
from shared.web.server import API_PAGE
from shared.wire.evaluation import Evaluation
from shared.wire.fields import Id
from shared.wire.images import MAX_GROUPS, MAX_LISTED, Described, Drawn, Groups, Neighbours, PoolMap, PoolPredictions
from shared.wire.log import Acknowledgement, AnnotationBatch
from shared.wire.models import Predictions, PredictRequest
from shared.wire.project import SettingView, StrategyList
from shared.wire.review import LabelIssues, NearDuplicates
from shared.wire.trainer import TrainerStatus
from trainer.explore.pool_layout import Unfinished
from trainer.jobs.job_queue import UnknownJob
from trainer.loop.live_model import NotInPool, NotReady
from trainer.routes.metrics import prometheus_text
from trainer.routes.model_routes import model_routes
from trainer.service import Trainer, package_version, strategy_list
from trainer.sync.leader import Sender, Taken
from trainer.sync.replica import Gap
from trainer.versions.registry import StillNeeded, UnknownVersion

MAX_UPLOADS = 256
FOR_EVERY_LABELER = frozenset({"/health", "/status", "/annotations", "/metrics"})
"""Paths that any labeler may request, even if the trainer follows another log."""
UPLOADS = 4
"""Requests with uploads that are answered at the same time; the images of further ones wait on disk."""
Limit = Annotated[int, Query(ge=1, le=MAX_LISTED)]


def create_api(trainer: Trainer) -> FastAPI:
    """The FastAPI application for one trainer."""
    uploads = CapacityLimiter(UPLOADS)

    def known(request: Request) -> None:
        """Record who asks. A labeler that is not followed may neither see another project's images nor give orders."""
        sender = Sender.of(request.headers, request.client.host if request.client else None)
        if sender is not None:
            trainer.leader.hear(sender)
            if request.url.path not in FOR_EVERY_LABELER:
                trainer.leader.check(sender)
        request.state.sender = sender

    api = FastAPIOffline(
        "/docs",
        None,
        title="Flywheel trainer",
        version=package_version(),
        swagger_ui_parameters=API_PAGE,
        dependencies=[Depends(known)],
    )
    keep_to_schema(api, everywhere_but={409: FOR_EVERY_LABELER})
    _add_errors(api, trainer.disk)
    answer_for(api, trainer.disk, SafetensorError)

    @api.get("/health")
    async def health() -> dict[str, str]:  # async, so that it needs no thread
        """Say that the trainer is running."""
        return {"status": "ok", "version": package_version()}

    @api.get("/status")
    def status() -> TrainerStatus:
        """State, lag, metrics, embedding progress, challenger, and timings in milliseconds."""
        return trainer.status().model_copy(update=whose(trainer.settings.workspace))

    @api.post("/annotations", responses=refusals(409))
    def annotations(batch: AnnotationBatch, request: Request) -> Acknowledgement:
        """Receive rows of the annotation log. They are on disk when this responds. 409 says where to continue, or,
        without `acked_seq`, which other labeler the trainer follows."""
        return trainer.accept(batch, request.state.sender)

    @api.post("/pause")
    def pause() -> TrainerStatus:
        """Pause learning and embedding. Rows of the log are still accepted."""
        trainer.loop.wish("pause")
        return trainer.status()

    @api.post("/resume")
    def resume() -> TrainerStatus:
        """Continue after a pause or a stop. The rule that stopped the training does not fire again."""
        trainer.loop.wish("run")
        return trainer.status()

    @api.post("/stop")
    def stop() -> TrainerStatus:
        """Learn the last labels, evaluate once more, save model and dataset. `/status` says where they are."""
        trainer.loop.wish("stop", "asked to stop")
        return trainer.status()

    @api.get("/settings")
    def settings() -> dict[str, SettingView]:
        """Every setting: its value, its source, and whether it may change while running."""
        return trainer.running_settings.show()

    @api.patch("/settings", openapi_extra=body_of_changes(TrainerSettings))
    def change_settings(changes: Annotated[dict[str, Any], Body()]) -> dict[str, SettingView]:
        """Change settings, all or none. The project keeps them."""
        trainer.running_settings.change(changes)
        return trainer.running_settings.show()

    @api.get("/strategies")
    def strategies() -> StrategyList:
        """The named query strategies that work for the project's task, each with advice when to use it."""
        return strategy_list(trainer.task())

    @api.get("/evaluations")
    def evaluations() -> dict[str, list[Evaluation]]:
        """All evaluations of this log, oldest first."""
        return {"evaluations": list(trainer.replica.evaluations)}

    @api.get("/label-issues", responses=refusals(409))
    def label_issues(limit: Limit = 100) -> LabelIssues:
        """Doubtful labels, worst first, each with a proposed label and the evidence."""
        return trainer.explorer.label_issues(limit)

    @api.get("/near-duplicates", responses=refusals(409))
    def near_duplicates(limit: Limit = 200) -> NearDuplicates:
        """Near copies with different labels, and train images with a near copy among the held-out images."""
        return trainer.explorer.near_duplicates(limit)

    @api.get("/similar", responses=refusals(404, 409))
    def similar(image_id: Id, limit: Limit = 20, labeled: bool = False) -> Neighbours:
        """The nearest neighbours of one image. `labeled`: only among images with a label."""
        return trainer.explorer.similar(image_id, limit, labeled=labeled)

    @api.get("/described", responses=refusals(409))
    def described(words: Annotated[str, Query(min_length=1, max_length=200)], limit: Limit = 20) -> Described:
        """The images that words describe best. 409 without a network of images and captions (`text_network`)."""
        return trainer.explorer.described(words, limit)

    @api.get("/clusters", responses=refusals(409))
    def clusters(count: Annotated[int, Query(ge=1, le=MAX_GROUPS)] = 20, limit: Limit = 20) -> Groups:
        """Groups of similar images, each with its most typical ones. 409 while they are computed."""
        return trainer.explorer.clusters(count, limit)

    @api.get("/map", responses=refusals(409))
    def positions(limit: Limit = MAX_LISTED, layout: Drawn = "pca") -> PoolMap:
        """2-D positions of the pool, as columns. PCA until `layout=umap` is ready. 409 until there is one."""
        return trainer.explorer.map(limit, layout)

    @api.get(
        "/predictions", responses={200: {"content": {MEDIA_TYPE: {}}}, **refusals(409)}, response_model=PoolPredictions
    )
    def predictions(request: Request) -> Any:
        """The most likely class of every image of the pool, as columns; as an .npz file where a request accepts that
        (`application/x-npz`). 409 while there is no model."""
        said = trainer.predictor.pool()
        if MEDIA_TYPE in request.headers.get("accept", ""):
            return Response(said.to_bytes(), media_type=MEDIA_TYPE)
        return PoolPredictions(
            model_version=said.model_version,
            image_ids=said.image_ids.tolist(),
            labels=said.labels.tolist(),
            confidences=said.confidences.astype(np.float64).round(4).tolist(),
        )

    @api.post(
        "/predict",
        responses=refusals(404, 409),
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {"schema": PredictRequest.model_json_schema()},
                    "multipart/form-data": {
                        "schema": {
                            "type": "object",
                            "properties": {
                                "images": {"type": "array", "items": {"type": "string", "format": "binary"}}
                            },
                        }
                    },
                },
            }
        },
    )
    async def predict(request: Request, version: str | None = None) -> Predictions:
        """Class probabilities of images of the catalogue (JSON) or of uploads (multipart, fields named `images`). The
        promoted version answers, else the current model, or the named `version` (`now`: the current model)."""
        from starlette.concurrency import run_in_threadpool

        if request.headers.get("content-type", "").startswith("multipart/form-data"):
            async with request.form(max_files=MAX_UPLOADS, max_fields=MAX_UPLOADS) as form:
                images = Parts(
                    part for part in form.getlist("images") if isinstance(part, StarletteUpload | UploadFile)
                )
                return await to_thread.run_sync(trainer.predictor.predict_uploads, images, version, limiter=uploads)
        wanted = await read_json(request, PredictRequest)
        return await run_in_threadpool(trainer.predictor.predict, wanted.image_ids, version)

    api.include_router(model_routes(trainer))

    @api.get("/metrics", response_class=PlainTextResponse)
    def metrics() -> Response:
        """The metrics as Prometheus text."""
        return Response(prometheus_text(trainer), media_type="text/plain; version=0.0.4")

    return api


class Parts(Sequence[bytes]):
    """Uploaded images, each read when it is accessed: one body may contain 200 MB of them."""

    def __init__(self, parts: Iterable[StarletteUpload]) -> None:
        self._parts = list(parts)

    def __len__(self) -> int:
        return len(self._parts)

    @overload
    def __getitem__(self, place: int) -> bytes: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[bytes]: ...

    def __getitem__(self, place: int | slice) -> bytes | Sequence[bytes]:
        if isinstance(place, slice):
            return Parts(self._parts[place])
        file = self._parts[place].file
        file.seek(0)
        return file.read()


def _add_errors(api: FastAPI, disk: Disk) -> None:
    """Answer each error that the trainer names as `{"detail": sentence}` with its status."""

    @api.exception_handler(Gap)
    async def gap(request: Request, error: Gap) -> JSONResponse:
        return refused(request, 409, str(error), acked_seq=error.acked_seq)

    statuses: dict[type[Exception], int] = {
        NotReady: 409,
        Taken: 409,
        Unfinished: 409,
        FileExistsError: 409,
        StillNeeded: 409,
        NotInPool: 404,
        UnknownVersion: 404,
        UnknownJob: 404,
        SettingsError: 422,
        ImageProblem: 422,
        ValueError: 422,
    }
    for kind, status in statuses.items():

        async def named(request: Request, error: Exception, status: int = status) -> JSONResponse:
            if (trouble := disk.notice(error)) is not None:  # or its cause, as when a setting cannot be stored
                return refusal(trouble)
            return refused(request, status, str(error))

        api.add_exception_handler(kind, named)
