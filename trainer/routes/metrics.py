"""The trainer's state as Prometheus text. Gauges are read on request, so nothing can grow or go stale."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import get_args

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from shared.figures import ENOUGH
from shared.wire.jobs import JobState
from shared.wire.trainer import TrainerStatus
from trainer.service import Trainer

STATES = ("waiting", "training", "paused", "stopping", "stopped", "failed")


class _TrainerCollector(Collector):
    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer

    def collect(self) -> Iterator[Metric]:
        status = self._trainer.status()
        yield from _numbers(status)
        state = GaugeMetricFamily("flywheel_trainer_state", "1 for the current state of the trainer.", labels=["state"])
        for name in STATES:
            state.add_metric([name], float(status.state == name))
        yield state
        steps = GaugeMetricFamily(
            "flywheel_trainer_round_seconds", "Duration of each step of the last round.", labels=["step"]
        )
        for name, milliseconds in status.timings.items():
            steps.add_metric([name], milliseconds / 1e3)
        yield steps
        jobs = GaugeMetricFamily("flywheel_trainer_jobs", "Remembered jobs, by state.", labels=["state"])
        counts = Counter(job.state for job in self._trainer.jobs.list())
        for job_state in get_args(JobState):
            jobs.add_metric([job_state], float(counts[job_state]))
        yield jobs


def prometheus_text(trainer: Trainer) -> bytes:
    """`GET /metrics`."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_TrainerCollector(trainer))
    return generate_latest(registry)


def _numbers(status: TrainerStatus) -> Iterator[Metric]:
    numbers = {
        "acked_seq": ("Last row of the annotation log that the trainer has on disk.", float(status.acked_seq)),
        "rounds": ("Rounds learned so far.", float(status.round)),
        "labels": ("Labels that the live model learned from.", float(status.labels)),
        "embedded_images": ("Images embedded so far.", float(status.embedding.done)),
        "catalog_images": ("Images in the catalogue.", float(status.embedding.total)),
        "tracking_failed": ("1 while wandb should keep figures but cannot.", float(status.tracking.error is not None)),
        "unreadable_images": ("Images that could not be read.", float(status.embedding.problems)),
    }
    for name, (meaning, value) in numbers.items():
        yield GaugeMetricFamily(f"flywheel_trainer_{name}", meaning, value=value)
    measured = {
        "accuracy": f"Accuracy on the test images; absent before {ENOUGH} of them have a label.",
        "accuracy_low": "Lower bound of its 95 % interval.",
        "accuracy_high": "Upper bound of its 95 % interval.",
        "macro_f1": "Macro F1 on the labeled test images.",
        "micro_f1": "Multi-label: F1 of all yes and no answers together.",
        "mean_average_precision": "Multi-label: mean average precision of the classes.",
        "exact_match": "Multi-label: share of the fully answered test images with all classes right.",
        "test_labels": "Test images labeled so far.",
    }
    for name, meaning in measured.items():
        family = GaugeMetricFamily(f"flywheel_trainer_{name}", meaning)
        enough = name == "test_labels" or status.metrics.get("test_labels", 0) >= ENOUGH
        if enough and status.metrics.get(name) is not None:
            family.add_metric([], float(status.metrics[name]))
        yield family
