"""`flywheel pipeline FILE.toml`: split, clone, train, evaluate, compare, then promote or discard, for example nightly.

The report is the state. It is written atomically before and after each step, so after a kill the same command continues
where it stopped. Each step can be repeated: the name of the new version is in the report before training starts, and
training and comparing are jobs of the trainer, which continue without this process. All decisions are based on the
services' measurements.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import quote

import typer
from filelock import FileLock, Timeout
from pydantic import BaseModel, Field, ValidationError
from rich.console import Console
from rich.text import Text

from commands.models.jobs import follow
from commands.models.pipeline_file import IN_USE, STEPS, Pipeline, StepName, read_pipeline
from commands.models.saved_versions import show_comparison
from commands.running.given_paths import file, new_file
from commands.running.place import LabelerUrl, Place, TrainerUrl, Workspace, find
from commands.running.reach import Away, ask
from commands.tables import Listing
from shared.figures import accuracy_in_words, is_measured, metric_in_words
from shared.settings.services import SettingsError
from shared.storage.whole_files import write_whole
from shared.wire.dataset import SplitReceipt
from shared.wire.evaluation import Interval
from shared.wire.jobs import Comparison, ComparisonRequest, Job, JobList
from shared.wire.models import ModelList, ModelVersion, Trained, TrainRequest

console = Console()
StepState = Literal["waiting", "running", "done", "skipped", "failed"]
Decision = Literal["promoted", "better", "discarded"]
LONG_LISTS = {"curves", "calibration", "classes"}
DISCARDED, FAILED = 1, 3
"""Exit codes, besides 0 and 2 (the file is not valid)."""
T = TypeVar("T")
CATCH_UP_SECONDS = 600.0  # time for the trainer to receive moved images
ROUND_SECONDS = 10.0  # time for the trainer to learn from them
AWAY_SECONDS = 120.0  # time that a service may be offline for a restart
CHECK_SECONDS = 60.0  # the first check reads the sources of some thousand networks
LONG_SECONDS = 600.0  # new splits of a million images; the first save also writes the backbone


class Step(BaseModel):
    """One step of a run: its state and its result."""

    name: StepName
    state: StepState = "waiting"
    began_at: datetime | None = None
    seconds: float = 0.0
    result: dict[str, Any] = Field(default_factory=dict)
    error: str | None = None


class Report(BaseModel):
    """A run, finished or not. `version` is the version that it trains or checks, `base` the one to compare with."""

    pipeline: str
    fingerprint: str
    version: str
    base: str | None = None
    began_at: datetime
    ended_at: datetime | None = None
    decision: Decision | None = None
    exit_code: int | None = None  # None: not finished
    steps: list[Step]


def pipeline(
    file: Annotated[
        Path, typer.Argument(help="TOML file with the steps, such as docs/files/pipeline.toml.", parser=file)
    ],
    report: Annotated[
        Path | None, typer.Option(help="JSON to write. Default: FILE.report.json.", parser=new_file)
    ] = None,
    skip: Annotated[list[str] | None, typer.Option(help=f"Step to leave out: {', '.join(STEPS)}.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start over, even if a run is unfinished.")] = False,
    workspace: Workspace = None,
    labeler_url: LabelerUrl = None,
    trainer_url: TrainerUrl = None,
) -> None:
    """Train a new version, and promote it if it is better. Run it again to continue an interrupted run.

    The exit code is 1 if the new version is not better, and 3 if a step failed.
    """
    wanted = read_pipeline(file, skip or [])
    place = find(workspace, labeler_url or wanted.labeler_url, trainer_url or wanted.trainer_url)
    print(place.line("labeler"), flush=True)
    path = report or file.with_suffix(".report.json")
    patience = AWAY_SECONDS if path.exists() and not fresh else 0.0  # a service may be restarting when a run continues
    print(f"Trainer at {_patiently(lambda: place.both, patience)[1]}", flush=True)
    try:
        with FileLock(path.with_name(f".{path.name}.lock"), timeout=0):
            code = Run(wanted, place, path, fresh=fresh).run()
    except Timeout:
        raise SettingsError(f"Another run is writing {path}: wait for it, or name another --report.") from None
    except OSError as error:
        raise SettingsError(f"The report {path} cannot be written: {error.strerror}.") from None
    raise typer.Exit(code)


def _patiently(act: Callable[[], T], seconds: float) -> T:
    """The result of `act`. Tries again while a service is offline, then raises Away."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return act()
        except Away:
            if time.monotonic() > deadline:
                raise
            time.sleep(1.0)


class Run:
    """One run of a pipeline, new or continued."""

    def __init__(self, wanted: Pipeline, place: Place, path: Path, *, fresh: bool) -> None:
        self._wanted = wanted
        self._place = place
        self._path = path
        self._report = (None if fresh else self._unfinished()) or _begun(wanted)
        self._deadline = time.monotonic() + wanted.hours * 3600
        self._again = False  # the current step was started before

    def run(self) -> int:
        """Run the remaining steps; returns the exit code."""
        acts: dict[StepName, Callable[[Step], None]] = {
            "split": self._split,
            "clone": self._clone,
            "train": self._train,
            "evaluate": self._evaluate,
            "compare": self._compare,
            "promote": self._promote,
        }
        report, code = self._report, 0
        if not any(step.began_at for step in report.steps):
            self._check()
        for step in report.steps:
            if step.name not in self._wanted.steps and step.state != "done":
                step.state = "skipped"
            if step.state in ("done", "skipped"):
                continue
            self._again = step.began_at is not None
            step.state, step.error, step.began_at = "running", None, step.began_at or datetime.now(UTC)
            self._save()
            began = time.monotonic()
            try:
                acts[step.name](step)
                step.state = "done"
            except SettingsError as error:
                step.state, step.error, code = "failed", str(error), FAILED
            step.seconds = round(step.seconds + time.monotonic() - began, 3)
            self._save()
            if code:
                break
        if not code:
            code = DISCARDED if report.decision == "discarded" else 0
            report.ended_at, report.exit_code = datetime.now(UTC), code
            self._save()
        self._print()
        return code

    def _check(self) -> None:
        """Check networks and versions before a step changes anything. Raises SettingsError."""
        wanted, steps = self._wanted, self._wanted.steps
        if "train" in steps and wanted.train.architecture and ":" not in wanted.train.architecture:
            self._ask(self._place.trainer, f"/networks/{quote(wanted.train.architecture)}", seconds=CHECK_SECONDS)
        named = {"clone": wanted.clone and wanted.clone.version, "compare": wanted.compare and wanted.compare.base}
        for step, version in named.items():
            if step in steps and version not in (None, IN_USE):
                self._version(str(version))

    # ------------------------------------------------------------ the steps

    def _split(self, step: Step) -> None:
        assert self._wanted.split is not None  # noqa: S101 - otherwise the step is skipped
        body = self._wanted.split.model_dump(mode="json")
        said = self._ask(self._place.labeler, "/api/splits", "POST", json=body, seconds=LONG_SECONDS)
        step.result = SplitReceipt.model_validate(said).model_dump(mode="json")
        began, heard = time.monotonic(), None
        while True:  # the trainer must know the new splits, and the live model must be fitted without moved images
            project = self._ask(self._place.labeler, "/api/project")
            status = self._ask(self._place.trainer, "/status")
            if (status["log_id"], status["acked_seq"]) == (project["log_id"], project["last_seq"]):
                heard = heard or time.monotonic()
                # If everything is labeled, no new list comes.
                if project["query_acked_seq"] == project["last_seq"] or time.monotonic() > heard + ROUND_SECONDS:
                    return
            if time.monotonic() > began + CATCH_UP_SECONDS:
                raise SettingsError(f"The trainer did not receive the new splits within {CATCH_UP_SECONDS:.0f} s.")
            time.sleep(0.5)

    def _clone(self, step: Step) -> None:
        assert self._wanted.clone is not None  # noqa: S101
        self._report.base = self._existing(self._wanted.clone.version)
        step.result = {"version": self._report.base}

    def _train(self, step: Step) -> None:
        name, report = self._report.version, self._report
        job = self._job("train", lambda job: job.request["name"] == name)
        if job is None:
            asked = TrainRequest(base=report.base, **self._wanted.train.model_dump())
            body = {"name": name, "train": asked.model_dump(mode="json")}
            job = Job.model_validate(self._ask(self._place.trainer, "/models", "POST", json=body))
        trained = Trained.model_validate(self._followed(step, job).result)
        step.result |= trained.model_dump(mode="json", exclude={"history"})

    def _evaluate(self, step: Step) -> None:
        assert self._wanted.evaluate is not None  # noqa: S101
        version = self._version(self._report.version)
        metrics = version.metrics
        step.result = {"version": version.version, "labels": version.labels, "accuracy": None, "macro_f1": None}
        if metrics is not None:
            step.result |= {"accuracy": metrics.accuracy.model_dump(), "macro_f1": metrics.macro_f1}
        accuracy = metrics.accuracy if metrics is not None else None
        enough = metrics is not None and is_measured(accuracy)
        reached = {
            "accuracy": metrics.accuracy.value if metrics is not None and enough else None,
            "macro_f1": metrics.macro_f1 if metrics is not None and enough else None,
        }
        for metric, floor in self._wanted.evaluate.at_least.items():
            value = reached[metric]
            if value is None or value < floor:
                shown = accuracy_in_words(accuracy) if value is None else metric_in_words(metric, value)
                step.result["below"] = f"{metric} is {shown}, and must be at least {metric_in_words(metric, floor)}"
                self._report.decision = "discarded"

    def _compare(self, step: Step) -> None:
        assert self._wanted.compare is not None  # noqa: S101
        report = self._report
        if report.decision == "discarded":
            step.result = {"reason": "not compared: it did not reach the required figures"}
            return
        if self._wanted.compare.base is not None or report.base is None:
            report.base = self._existing(self._wanted.compare.base or IN_USE)
            self._save()
        criteria = self._wanted.compare.model_dump(mode="json", exclude={"base"})
        try:
            asked = ComparisonRequest.model_validate({**criteria, "base": report.base, "candidate": report.version})
        except ValidationError as error:
            raise SettingsError(error.errors()[0]["msg"].removeprefix("Value error, ") + ".") from None
        job = self._job("compare", lambda job: job.id == step.result.get("job"))
        if job is None:
            body = asked.model_dump(mode="json")
            job = Job.model_validate(self._ask(self._place.trainer, "/models/compare", "POST", json=body))
        found = Comparison.model_validate(self._followed(step, job).result)
        step.result |= found.model_dump(
            mode="json",
            exclude={"differing": True, "base": LONG_LISTS, "candidate": LONG_LISTS},
        )
        report.decision = "better" if found.decision == "update_model" else "discarded"
        show_comparison(found)

    def _promote(self, step: Step) -> None:
        assert self._wanted.promote is not None  # noqa: S101
        report, url = self._report, f"/models/{quote(self._report.version)}"
        if report.decision != "discarded":
            self._ask(self._place.trainer, f"{url}/promote", "POST", seconds=LONG_SECONDS)
            report.decision = "promoted"
        elif self._wanted.promote.delete_discarded and report.version in self._names():
            self._ask(self._place.trainer, url, "DELETE")
        step.result = {"decision": report.decision}

    # ------------------------------------------------------------ asking

    def _existing(self, name: str) -> str:
        """The version `name`. For the one in use, if none is promoted, the current model is saved."""
        if name != IN_USE:
            return self._version(name).version
        models = ModelList.model_validate(self._ask(self._place.trainer, "/models"))
        if models.promoted is not None:
            return models.promoted
        saved = f"{self._report.version}-base"
        if saved not in {each.version for each in models.models}:
            self._ask(self._place.trainer, "/models", "POST", json={"name": saved}, seconds=LONG_SECONDS)
        return saved

    def _version(self, name: str) -> ModelVersion:
        return ModelVersion.model_validate(self._ask(self._place.trainer, f"/models/{quote(name)}"))

    def _names(self) -> set[str]:
        models = ModelList.model_validate(self._ask(self._place.trainer, "/models"))
        return {each.version for each in models.models}

    def _job(self, kind: str, mine: Callable[[Job], bool]) -> Job | None:
        """The job that this step started before a kill, resumed if it had failed; None if there is none."""
        if not self._again:
            return None
        jobs = JobList.model_validate(self._ask(self._place.trainer, "/jobs")).jobs
        job = next((each for each in jobs if each.kind == kind and mine(each)), None)
        if job is not None and job.state in ("failed", "cancelled"):
            return Job.model_validate(self._ask(self._place.trainer, f"/jobs/{job.id}/resume", "POST"))
        return job

    def _followed(self, step: Step, job: Job) -> Job:
        step.result["job"] = job.id
        self._save()
        return follow(self._place.trainer, job, away_seconds=AWAY_SECONDS, deadline=self._deadline)

    def _ask(self, url: str, path: str, method: str = "GET", **request: Any) -> Any:
        """Like `ask`, but waits for a service that is restarting. Every request here can be repeated."""
        seconds = min(AWAY_SECONDS, self._deadline - time.monotonic())
        return _patiently(lambda: ask(url + path, method, **request), seconds)

    # ------------------------------------------------------------ the report

    def _unfinished(self) -> Report | None:
        """The unfinished report of an earlier run of the same file."""
        try:
            report = Report.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError):
            raise SettingsError(
                f"{self._path} exists, but is not a report of a pipeline: name another --report, or use --fresh."
            ) from None
        if report.exit_code is not None:
            return None
        if report.fingerprint != self._wanted.fingerprint:
            console.print(f"The file has changed since the unfinished run of {report.began_at:%Y-%m-%d %H:%M} UTC.")
            return None
        console.print(f"Continuing the run of {report.began_at:%Y-%m-%d %H:%M} UTC.", highlight=False)
        return report

    def _save(self) -> None:
        write_whole(self._path, self._report.model_dump_json(indent=2).encode() + b"\n")

    def _print(self) -> None:
        table = Listing({"step": "name", "state": "name", "seconds": "number", "": "words"})
        for step in self._report.steps:
            table.add_row(step.name, step.state, f"{step.seconds:,.1f}", Text(step.error or _in_words(step)))
        console.print(table)
        words = {
            "promoted": f"{self._report.version} is promoted.",
            "better": f"{self._report.version} is better than {self._report.base}; nothing was promoted.",
            "discarded": f"{self._report.version} is not better; the version in use stays.",
            None: f"{self._report.version}: nothing was decided.",
        }
        failed = any(step.state == "failed" for step in self._report.steps)
        said = "A step failed. Run the same command to continue." if failed else words[self._report.decision]
        console.print(f"{said} Report: {self._path}", soft_wrap=True, markup=False, highlight=False)
        if failed:
            error = next(step.error for step in self._report.steps if step.state == "failed")
            print(f"Flywheel: {error}", file=sys.stderr)


def _begun(wanted: Pipeline) -> Report:
    now = datetime.now(UTC)
    return Report(
        pipeline=wanted.name,
        fingerprint=wanted.fingerprint,
        version=wanted.version or f"{wanted.name}-{now:%Y%m%dT%H%M%S}",
        began_at=now,
        steps=[Step(name=name) for name in STEPS],
    )


def _in_words(step: Step) -> str:
    said = step.result
    if not said:
        return ""
    match step.name:
        case "split":
            counts = ", ".join(f"{count:,} {name}" for name, count in said["splits"].items())
            return f"{counts}; {said['moved']:,} moved"
        case "clone":
            return str(said["version"])
        case "train":
            return f"{said['version']}: {said['epochs']} epochs" if "epochs" in said else f"job {said['job']}"
        case "evaluate":
            measured = Interval.model_validate(said["accuracy"]) if said["accuracy"] else None
            return said.get("below") or f"accuracy {accuracy_in_words(measured)}"
        case "compare":
            return str(said.get("reason", f"job {said.get('job')}"))
        case "promote":
            return str(said["decision"])
