"""The warning before promoting a version that is worse or was never measured."""

from pathlib import Path

import pytest

from tests.services import wait_for
from tests.trainer.learning import client, photos, teach, trainer  # noqa: F401
from trainer.evaluation.metrics import wilson
from trainer.versions.promotion import is_worse, warning


@pytest.mark.parametrize(
    ("candidate", "in_use", "worse"),
    [
        (wilson(584, 947), wilson(766, 947), True),  # 61.7 % over 80.9 %
        (wilson(766, 947), wilson(584, 947), False),
        (wilson(750, 947), wilson(766, 947), False),  # two points of 947 images may be chance
        (wilson(8, 20), wilson(16, 20), True),
        (wilson(13, 20), wilson(16, 20), False),
    ],
)
def test_when_a_version_counts_as_measurably_worse(candidate, in_use, worse):
    assert is_worse(candidate, in_use) == worse


def test_a_worse_version_is_named_with_both_numbers_and_their_intervals():
    said = warning("version small", wilson(584, 947), "the current model", wilson(766, 947))
    assert said == (
        "Version small is measurably worse: its accuracy is 61.7% (58.5% – 64.7%, 947 test images). The current model, "
        "in use now: 80.9% (78.3% – 83.3%, 947 test images)."
    )


def test_one_that_was_not_measured_is_said_to_be_unknown():
    said = warning("version small", wilson(1, 1), "version large", wilson(766, 947))
    assert said.startswith(
        "The accuracy of version small is unknown (not measured yet: 1 of 10 labeled test images). Version large"
    )
    assert warning("version small", None, "version large", None)
    of_boxes = warning("version small", None, "version large", None, figure="mAP at IoU 0.5")
    assert of_boxes.startswith("The mAP at IoU 0.5 of version small is unknown")
    assert warning("version small", wilson(766, 947), "version large", None) is None


def test_without_confirmation_it_is_not_promoted_and_with_it_the_warning_stays(client, trainer):  # noqa: F811
    teach(client, range(12))
    wait_for(lambda: client.get("/status").json()["labels"] == 12)
    client.post("/models", json={"name": "first"}).raise_for_status()
    said = client.post("/models/first/promote?confirmed=false").json()
    assert said["promoted"] is None
    assert "The accuracy of version first is unknown (not measured yet: 0 of 10 labeled test images)" in said["warning"]
    said = client.post("/models/first/promote").json()
    assert (said["promoted"], "is unknown" in said["warning"]) == ("first", True)
    again = client.post("/models/first/promote?confirmed=false").json()
    assert (again["promoted"], again["warning"]) == ("first", None)  # it is in use already


def test_a_size_counts_the_network_under_a_head(client, trainer):  # noqa: F811
    teach(client, range(12))
    wait_for(lambda: client.get("/status").json()["labels"] == 12)
    client.post("/models", json={"name": "first"}).raise_for_status()
    (listed,) = client.get("/models").json()["models"]
    version = trainer.registry.get("first")
    assert listed["all_bytes"] == version.all_bytes(Path(trainer.folder) / "backbones")
    assert "all_bytes" not in (version.folder / "model.json").read_text()
