"""The trainer's routes for saved versions and jobs."""

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
    """The routes under /models, /networks and /jobs."""
    routes = APIRouter(route_class=StrictRoute)

    @routes.get("/models")
    def models() -> ModelList:
        """All saved versions, oldest first, the promoted one, and the refused ones with the reasons."""
        return trainer.versions.list()

    @routes.post("/models", responses=refusals(404, 409))
    def new_version(wanted: NewModel) -> Saved | Job:
        """Save the current model under a name. With `train`: train a new version, as a job."""
        if wanted.train is not None:
            return trainer.model_jobs.train(wanted.name, wanted.train)
        return trainer.name_version(wanted.name)

    @routes.delete("/models", responses=refusals(409))
    def prune(dry_run: bool = False) -> Pruned:
        """Delete every version that nothing needs: not promoted, no parent of another, not saved by the last stop.

        With `dry_run`, only list them."""
        return trainer.versions.prune(dry_run=dry_run)

    @routes.post("/models/rollback", responses=refusals(404, 409, 422))
    def roll_back() -> ModelList:
        """Return to the version that was promoted before the last promotion."""
        return trainer.versions.roll_back()

    @routes.post("/models/compare", responses=refusals(404, 409), status_code=202)
    def compare(request: ComparisonRequest) -> Job:
        """Compare two versions on the same images, as a job. Its result is the comparison. The base `now` is the
        current model, which is saved first."""
        return trainer.model_jobs.compare(request)

    @routes.get("/models/{version}", responses=refusals(404))
    def model(version: str) -> ModelVersion:
        """One version: parent, learner, architecture, configuration, labels, metrics with intervals, size, time."""
        return trainer.versions.show(version)

    @routes.delete("/models/{version}", responses=refusals(404, 409))
    def delete(version: str) -> ModelList:
        """Delete a version. 409 says what needs it."""
        trainer.versions.delete(version)
        return trainer.versions.list()

    @routes.post("/models/{version}/promote", responses=refusals(404, 409))
    def promote(version: str, confirmed: bool = True) -> ModelList:
        """Let a version answer predictions (`now`: the current model). 422 says why it cannot. `warning` says that it
        is measurably worse than the one in use, or unmeasured; with `?confirmed=false` it is then not promoted."""
        return trainer.versions.promote(version, confirmed=confirmed)

    @routes.get("/models/{version}/export", responses=content(ANY_FILE) | refusals(404, 409))
    def export(version: str, format: ModelFormat = "safetensors") -> FileResponse:
        """Export a version: `onnx`, `torch` (torch.export), `zip` (everything), `fastai` (with a script that makes a
        Learner), `card` (model card), or a file as it is on disk: `safetensors`, `json`, `csv`."""
        path, filename = trainer.versions.export(version, format)
        return FileResponse(path, filename=filename, media_type=ANY_FILE)

    @routes.get("/networks/{name:path}", responses=refusals(409))
    def network(name: str) -> NetworkName:
        """Whether a version of this network can be trained. 422 says why not, and lists similar names."""
        trainer.model_jobs.check_network(name)
        return NetworkName(name=name)

    @routes.get("/jobs")
    def jobs() -> JobList:
        """All jobs, newest first."""
        return JobList(jobs=trainer.jobs.list())

    @routes.get("/jobs/{job}", responses=refusals(404))
    def job(job: str) -> Job:
        """One job: its progress or its result."""
        return trainer.jobs.get(job)

    @routes.delete("/jobs/{job}", responses=refusals(404, 409))
    def cancel(job: str) -> Job:
        """Cancel a job. It can be resumed."""
        return trainer.model_jobs.cancel(job)

    @routes.post("/jobs/{job}/resume", responses=refusals(404, 409))
    def resume(job: str) -> Job:
        """Continue a cancelled or failed job."""
        return trainer.model_jobs.resume(job)

    return routes
