"""The tasks that a project can have, by name."""

from __future__ import annotations

from shared.tasks.classification import CLASSIFICATION
from shared.tasks.detection import DETECTION
from shared.tasks.multilabel import MULTILABEL
from shared.tasks.task import Task

TASKS: dict[str, Task] = {}


def register(task: Task) -> None:
    """Add a task that projects can have."""
    TASKS[task.name] = task


def task_named(name: str) -> Task:
    """The task with this name. Raises ValueError if there is none."""
    if name not in TASKS:
        raise ValueError(f"There is no task {name!r}, only {', '.join(sorted(TASKS))}.")
    return TASKS[name]


register(CLASSIFICATION)
register(MULTILABEL)
register(DETECTION)
