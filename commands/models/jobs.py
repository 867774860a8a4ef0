"""`flywheel jobs`: the jobs of a running trainer, on the command line."""

from __future__ import annotations

import math
import time
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from commands.running.place import Place, talks_to
from commands.running.reach import Away, ask
from commands.tables import Listing
from shared.settings.services import SettingsError
from shared.wire.jobs import ENDED, Job, JobList

app = typer.Typer(
    no_args_is_help=True, help="List, watch, cancel and resume jobs, such as training a version or comparing two."
)
console = Console()
Id = Annotated[str, typer.Argument(metavar="JOB", help="A job from `flywheel jobs list`.")]
LOOK_SECONDS = 0.5


@app.command("list")
@talks_to("trainer")
def list_(*, place: Place) -> None:
    """All jobs, newest first."""
    table = Listing({"job": "name", "kind": "name", "state": "name", "started (UTC)": "number", "": "words"})
    for job in JobList.model_validate(ask(f"{place.trainer}/jobs")).jobs:
        said = job.error or (job.progress.message if job.state not in ENDED else "")
        table.add_row(job.id, job.kind, job.state, f"{job.created_at:%Y-%m-%d %H:%M}", Text(said))
    console.print(table)


@app.command()
@talks_to("trainer")
def watch(job: Id, *, place: Place) -> None:
    """Show the progress of a job until it ends. Ctrl-C stops watching, not the job."""
    ended = follow(place.trainer, Job.model_validate(ask(f"{place.trainer}/jobs/{job}")))
    console.print(f"Job {ended.id} is {ended.state}.")


@app.command()
@talks_to("trainer")
def cancel(job: Id, *, place: Place) -> None:
    """Cancel a job. It can be resumed later."""
    console.print(f"Job {job} is {ask(f'{place.trainer}/jobs/{job}', 'DELETE')['state']}.")


@app.command()
@talks_to("trainer")
def resume(job: Id, *, place: Place) -> None:
    """Continue a cancelled or failed job from its checkpoint."""
    console.print(f"Job {job} is {ask(f'{place.trainer}/jobs/{job}/resume', 'POST')['state']}.")


def follow(trainer_url: str, job: Job, *, away_seconds: float = 0.0, deadline: float = math.inf) -> Job:
    """Show progress until the job ends; returns the job. Raises SettingsError if it fails or is cancelled.

    The trainer may be offline for `away_seconds`, because a job survives that. At `deadline` (monotonic clock), the
    job keeps running and SettingsError is raised.
    """
    heard = time.monotonic()
    with Progress(TextColumn("{task.description}"), BarColumn(), console=console, transient=True) as bar:
        task = bar.add_task("waiting", total=None)
        while job.state not in ENDED:
            time.sleep(LOOK_SECONDS)
            if time.monotonic() > deadline:
                raise SettingsError(f"Job {job.id} is still running, but the time is up.")
            try:
                job = Job.model_validate(ask(f"{trainer_url}/jobs/{job.id}"))
                heard = time.monotonic()
            except Away:
                if time.monotonic() - heard > away_seconds:
                    raise
            said = job.progress
            bar.update(task, completed=said.done, total=said.total or None, description=said.message or job.state)
    if job.state == "failed":
        raise SettingsError(f"Job {job.id} failed: {job.error}")
    if job.state == "cancelled":
        raise SettingsError(f"Job {job.id} was cancelled.")
    return job
