"""Finds a task by its name."""

from __future__ import annotations

from trainer.tasks.classification import Classification
from trainer.tasks.detection import Detection
from trainer.tasks.multilabel import Multilabel
from trainer.tasks.network_task import NetworkTask
from trainer.tasks.task import Task

_TASKS: dict[str, Task] = {}


class UnknownTask(ValueError):  # noqa: N818 - an answer to a request, not a failure
    """The trainer has no task of that name, or none that can do this. The message lists the possible ones."""


def register(task: Task) -> None:
    """Register `task` under its name. Replaces a task with the same name."""
    _TASKS[task.name] = task


def task_named(name: str) -> Task:
    """The task of that name. Raises UnknownTask."""
    if name not in _TASKS:
        raise UnknownTask(f"This trainer cannot learn the task {name!r}. It knows: {', '.join(sorted(_TASKS))}.")
    return _TASKS[name]


def network_task(name: str) -> NetworkTask:
    """The task of that name, whose whole network can be trained. Raises UnknownTask."""
    task = task_named(name)
    if not isinstance(task, NetworkTask):
        raise UnknownTask(task.no_network or f"No network can be trained for the task {name!r}.")
    return task


register(Classification())
register(Multilabel())
register(Detection())
