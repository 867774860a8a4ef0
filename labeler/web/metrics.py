"""The labeler's state as Prometheus text. Gauges are computed per request, so nothing can grow or become stale."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from labeler.service import Service
from shared.wire.project import Project


class _LabelerCollector(Collector):
    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
        project = self._service.project()
        yield from _numbers(project)
        images = GaugeMetricFamily("flywheel_labeler_images", "Images by what was answered.", labels=["status"])
        for status in ("labeled", "skipped", "flagged", "unlabeled"):
            images.add_metric([status], float(getattr(project.images, status)))
        yield images
        splits = GaugeMetricFamily("flywheel_labeler_labeled_images", "Labeled images by split.", labels=["split"])
        for split, counts in project.splits.items():
            splits.add_metric([split], float(counts.labeled))
        yield splits


def prometheus_text(service: Service) -> bytes:
    """`GET /api/metrics`."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_LabelerCollector(service))
    return generate_latest(registry)


def _numbers(project: Project) -> Iterator[Metric]:
    outbox = project.outbox
    numbers = {
        "log_rows": ("Rows of the annotation log.", project.last_seq),
        "query_version": ("Ranked lists accepted so far.", project.query_version),
        "trainer_up": ("1 while the trainer answers.", project.trainer.state not in ("absent", "taken")),
        "trainer_lag_rows": ("Rows of the log that the trainer has not acknowledged.", project.trainer.lag),
        "outbox_rows": ("Rows waiting to be sent to the trainer.", outbox.pending),
        "outbox_oldest_seconds": ("Age of the oldest waiting row, in seconds.", outbox.oldest_seconds or 0),
        "outbox_failures": ("Consecutive failures to send to the trainer.", outbox.failures),
        "rejected_files": ("Files that cannot be used as images.", project.rejected),
        "missing_files": ("Answered images whose file is missing.", project.missing),
        "labels_per_minute": ("Recent labels per minute, all people together.", project.labels_per_minute or 0),
        "active_people": ("People who answered within the last minutes.", len(project.people)),
    }
    for name, (meaning, value) in numbers.items():
        yield GaugeMetricFamily(f"flywheel_labeler_{name}", meaning, value=float(value))
