"""Prometheus reads the same figures of a labeler as its project shows."""

from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from labeler.web.api import create_api
from tests.labeler.projects import answer, labeler, photos


def scraped(client):
    text = client.get("/metrics").text
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_it_counts_answers_and_what_waits_for_a_trainer_that_is_away(tmp_path):
    photos(tmp_path / "photos", 5)
    with labeler(tmp_path) as service, TestClient(create_api(service)) as client:
        before = scraped(client)
        assert before["flywheel_labeler_images", "unlabeled"] == 5
        service.annotate([answer(1), answer(2, "dog"), answer(3, None, action="skip")])
        after = scraped(client)
        assert after["flywheel_labeler_images", "labeled"] == after["flywheel_labeler_labeled_images", "train"] == 2
        assert after["flywheel_labeler_images", "skipped"] == 1
        assert after["flywheel_labeler_images", "unlabeled"] == 2
        assert after["flywheel_labeler_log_rows",] == before["flywheel_labeler_log_rows",] + 3
        assert after["flywheel_labeler_trainer_up",] == 0
        assert after["flywheel_labeler_outbox_rows",] == after["flywheel_labeler_log_rows",]
        assert after["flywheel_labeler_active_people",] == 1
