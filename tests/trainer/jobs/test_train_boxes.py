"""Training a whole detector as a job, on small scenes."""

import pytest

from tests.trainer.jobs.test_job_queue import finished
from tests.trainer.learning import wait_for
from tests.trainer.loop.test_detection import _small, boxed, draw, drawing, photos  # noqa: F401
from tests.trainer.scenes import scene
from tests.trainer.versions.test_library import say

SMALL = {"architecture": "test_resnet", "weights": "none", "input_size": 96, "epochs": 2, "batch_size": 4}


def test_a_whole_detector_is_trained_measured_compared_promoted_and_continued(tmp_path, photos):  # noqa: F811
    with drawing(tmp_path, photos) as (trainer, client, offered):
        draw(client, [*range(8), *range(18, 24)])
        wait_for(lambda: client.get("/status").json()["labels"] == 8, 60)
        for asked, said in [
            ({"architecture": "resnet_18"}, "Did you mean resnet18"),
            ({"architecture": "os:getcwd"}, "cannot be trained to find boxes"),
            ({"train": {"annotator": "bob"}}, "in at least 5 train images selected by 'train'"),
        ]:
            refused = client.post("/models", json={"name": "whole", "train": asked})
            assert (refused.status_code, said in refused.json()["detail"]) == (422, True), refused.text
        assert client.get("/networks/fcos_resnet50_fpn").json() == {"name": "fcos_resnet50_fpn"}
        job = say(client, "/models", json={"name": "whole", "train": SMALL})
        ended = finished(client, job)
        assert ended["state"] == "done", ended["error"]
        assert "boxes" not in str(ended["request"]["train"])  # everybody can read jobs, and test images are drawn blind
        version = client.get("/models/whole").json()
        assert (version["learner"], version["architecture"]) == ("whole_detector", "test_resnet")
        assert (version["labels"], version["input"]["size"]) == (8, 96)
        assert version["metrics"]["map_50"]["n"] == 6
        assert [each["name"] for each in version["classes"]] == ["square", "disc"]
        assert version["config"]["weights"] == "none"
        assert ended["result"]["notes"] == ["No epoch was chosen: too few images for validation."]
        rows = trainer.registry.get("whole").dataset()
        assert {int(row["image_id"]) for row in rows if row["split"] == "train"} == set(range(8))
        assert {int(row["image_id"]) for row in rows if row["split"] == "test"} == set(range(18, 24))
        say(client, "/models", json={"name": "live"})
        request = {"base": "live", "candidate": "whole"}
        compared = finished(client, client.post("/models/compare", json=request).json())
        assert compared["result"]["images"] == 6, compared["error"]
        assert compared["progress"]["message"] == "Comparing the boxes that both found"
        assert compared["result"]["candidate"]["map_50"]["value"] == pytest.approx(
            version["metrics"]["map_50"]["value"], abs=1e-6
        )
        promoted = say(client, "/models/whole/promote")
        assert "The mAP at IoU 0.5 of version whole is unknown (not measured yet: 6 of 10" in promoted["warning"]
        found = client.post("/predict", files={"images": scene(12)}).json()
        assert found["model_version"] == "whole"
        assert boxed(offered) is not None  # suggestions still come from the live detector
        assert "trained as a whole: test_resnet" in client.get("/models/whole/export?format=card").text
        # Training continues from the saved live detector, with nothing frozen, and then from the result.
        clone = {"base": "live", "weights": "base", "epochs": 1, "flip": False}
        ended = finished(client, say(client, "/models", json={"name": "unfrozen", "train": clone}))
        assert ended["state"] == "done", ended["error"]
        unfrozen = client.get("/models/unfrozen").json()
        assert (unfrozen["parent"], unfrozen["architecture"]) == ("live", "tf_efficientnet_lite0")
        assert (unfrozen["input"]["size"], unfrozen["config"]["weights"]) == (96, "base")
