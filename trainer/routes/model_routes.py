"""The trainer's routes about saved versions."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import FileResponse

from shared.web.answers import StrictRoute, content, refusals
from shared.wire.dataset import ModelFormat
from shared.wire.jobs import ComparisonRequest, Job, JobList
from shared.wire.models import ModelList, ModelVersion, NetworkName, NewModel, Pruned
from shared.wire.trainer import Saved
from trainer.service import Trainer

ANY_FILE = "application/octet-stream"


def model_routes(trainer: Trainer) -> APIRouter:
    """The routes under /models."""
    routes = APIRouter(route_class=StrictRoute)

    @routes.get("/models")
    def models() -> ModelList:
        """Saved versions, oldest first; which one is promoted; which are refused, and why."""
        return trainer.versions.list()

    @routes.post("/models", responses=refusals(404, 409))
    def new_version(wanted: NewModel) -> Saved | Job:
        """Save current model under a name; or with `train`, train a new one from a base or anew, as a job."""
        if wanted.train is not None:
            return trainer.model_jobs.train(wanted.name, wanted.train)
        return trainer.name_version(wanted.name)

    @routes.delete("/models", responses=refusals(409))
    def prune(dry_run: bool = False) -> Pruned:
        """Delete every version that nothing needs: not promoted, nobody's parent, not what the last stop saved.

        With `dry_run` only say which those are."""
        return trainer.versions.prune(dry_run=dry_run)

    @routes.post("/models/rollback", responses=refusals(404, 409, 422))
    def roll_back() -> ModelList:
        """Go back to what was promoted before the last promotion."""
        return trainer.versions.roll_back()

    @routes.post("/models/compare", responses=refusals(404, 409), status_code=202)
    def compare(request: ComparisonRequest) -> Job:
        """Compare two versions on the same images, as a job whose result is the comparison."""
        return trainer.model_jobs.compare(request)

    @routes.get("/models/{version}", responses=refusals(404))
    def model(version: str) -> ModelVersion:
        """One version: parent, learner, architecture, configuration, labels, metrics with intervals, size, time."""
        return trainer.versions.show(version)

    @routes.delete("/models/{version}", responses=refusals(404, 409))
    def delete(version: str) -> ModelList:
        """Delete a version; 409 says what needs it."""
        trainer.versions.delete(version)
        return trainer.versions.list()

    @routes.post("/models/{version}/promote", responses=refusals(404, 409))
    def promote(version: str, confirmed: bool = True) -> ModelList:
        """Let a version answer predictions (`now`: the current model). 422 says why one cannot. `warning` says that it
        is measurably worse than what is in use, or unmeasured; with `?confirmed=false` it is then not promoted."""
        return trainer.versions.promote(version, confirmed=confirmed)

    @routes.get("/models/{version}/export", responses=content(ANY_FILE) | refusals(404, 409))
    def export(version: str, format: ModelFormat = "safetensors") -> FileResponse:
        """A version to take away: `onnx`, `torch` (torch.export), `zip` (all of it), `fastai` (and what makes a Learner
        of it), `card`, or as it lies on disk `safetensors`, `json`, `csv`."""
        path, filename = trainer.versions.export(version, format)
        return FileResponse(path, filename=filename, media_type=ANY_FILE)

    @routes.get("/networks/{name:path}", responses=refusals(409))
    def network(name: str) -> NetworkName:
        """Whether a version can be trained of the network `name`; 422 says why not, and which names are near."""
        trainer.model_jobs.check_network(name)
        return NetworkName(name=name)

    @routes.get("/jobs")
    def jobs() -> JobList:
        """Long work, newest first."""
        return JobList(jobs=trainer.jobs.list())

    @routes.get("/jobs/{job}", responses=refusals(404))
    def job(job: str) -> Job:
        """One job: how far it is, or what came of it."""
        return trainer.jobs.get(job)

    @routes.delete("/jobs/{job}", responses=refusals(404, 409))
    def cancel(job: str) -> Job:
        """End a job where it is; it can be resumed from there."""
        return trainer.jobs.cancel(job)

    @routes.post("/jobs/{job}/resume", responses=refusals(404, 409))
    def resume(job: str) -> Job:
        """Go on with a job that was cancelled or has failed."""
        return trainer.jobs.resume(job)

    return routes
