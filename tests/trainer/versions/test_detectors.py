"""Saved detectors find what the live one found, also as an export without Flywheel, and bad files are refused."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from safetensors.numpy import load_file, save_file

from shared.settings.services import TrainerSettings
from shared.wire.evaluation import ClassMetrics, Evaluation, Interval
from shared.wire.models import ModelClass
from tests.services import HOME
from tests.trainer.descriptions import description
from tests.trainer.detection.squares import BLUE, LIMITS, RED, Album, overlap
from tests.trainer.logs import LOG, WHEN
from trainer.detection.detections import Detections
from trainer.detection.feature_maps import FeatureMaps
from trainer.detection.learning import fit
from trainer.detection.pyramid import Pyramid
from trainer.embeddings.backbones.torch_networks import TorchBackbone
from trainer.sync.replica import Replica
from trainer.versions.detectors import HOW_TO_USE, SavedDetector, as_boxes, keep
from trainer.versions.exporting import export
from trainer.versions.library import Versions
from trainer.versions.model_card import model_card
from trainer.versions.predictor import load_classifier
from trainer.versions.registry import RefusedVersion, Registry


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with a saved detector of red and blue squares, its album, its maps and itself."""
    folder, album = tmp_path_factory.mktemp("trainer"), Album()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = timm.create_model("test_resnet", num_classes=0)
    mean, std, cpu = (0.5, 0.4, 0.3), (0.2, 0.2, 0.2), torch.device("cpu")
    pyramid = Pyramid(TorchBackbone("test_resnet", network, input_size=64, mean=mean, std=std, device=cpu))
    maps = FeatureMaps(folder / "maps", pyramid, LIMITS, album.fetch)
    detector = fit([album.squares(seed, classes=(RED, BLUE)) for seed in range(6)], maps, steps=60)
    detector = detector.with_threshold(0.1)
    assert detector.regions is not None
    assert detector.edges is not None
    assert detector.tightness is not None
    assert detector.fine_edges is not None
    architecture, needs, key = keep(pyramid, folder / "backbones")
    said = description(
        learner="detector",
        architecture=architecture,
        input=needs,
        embeddings=key,
        classes=[ModelClass(id=BLUE, name="blue"), ModelClass(id=RED, name="red")],
        how_to_use=HOW_TO_USE,
    )
    version = Registry(folder / "models").save("boxes", detector.to_tensors(), said, [])
    return folder, version, album, maps, detector


def of_detector(said):
    """What describes a detector again."""
    names = ("learner", "architecture", "input", "embeddings", "classes")
    return {name: getattr(said, name) for name in names}


def files(album, count=3):
    """Image files, one of them a large JPEG, by content hash."""
    from PIL import Image

    shas = [album.squares(seed, classes=(RED, BLUE)).sha256 for seed in range(100, 100 + count)]
    large = Image.new("RGB", (900, 1_300), "grey")
    large.paste("red", (100, 300, 500, 700))
    exif = Image.Exif()
    exif[0x0112] = 6
    return [*shas, album.add(large, "JPEG", exif=exif)]


def test_a_saved_detector_finds_what_the_live_one_found(saved):
    folder, version, album, maps, detector = saved
    classifier = load_classifier(version, folder / "backbones")
    loaded = SavedDetector(classifier.network, classifier.needs, classifier.device)
    assert loaded.threshold == pytest.approx(0.1)
    for sha256 in files(album):
        live, said = detector.detect(maps.plain(sha256)), loaded.detect(album.files[sha256], LIMITS)
        live, said = live.above(0.1), said.above(0.1)
        assert len(live) == len(said) > 0
        for box, label, score in zip(live.boxes, live.classes, live.scores, strict=True):
            assert any(  # nearly, because stored maps have 16 bits
                overlap(box, other) > 0.9 and label == detector.classes[place] and abs(score - value) < 0.02
                for other, place, value in zip(said.boxes, said.classes, said.scores, strict=True)
            )


@pytest.mark.parametrize("lacks", [["fine_edges"], ["fine_edges", "tightness"], ["fine_edges", "tightness", "edges"]])
def test_a_version_of_an_earlier_release_lacks_parts_and_is_used_as_it_is(saved, tmp_path, lacks):
    folder, version, album, maps, detector = saved
    tensors = {name: each for name, each in load_file(version.model_file).items() if name.split(".")[0] not in lacks}
    earlier = Registry(tmp_path / "models").save("old", tensors, description(**of_detector(version.description)), [])
    classifier = load_classifier(earlier, folder / "backbones")
    old = SavedDetector(classifier.network, classifier.needs, classifier.device)
    without = replace(detector, **dict.fromkeys(lacks))
    for sha256 in files(album):
        live, said = without.detect(maps.plain(sha256)).above(0.5), old.detect(album.files[sha256], LIMITS).above(0.5)
        np.testing.assert_allclose(live.boxes, said.boxes, atol=4)


def test_versions_predict_boxes_under_todays_names(saved):
    folder, version, album, *_ = saved
    settings = TrainerSettings.load(command_line={"workspace": str(folder), "device": "cpu"})[0]
    registry = Registry(folder / "models")
    versions = Versions(registry, Replica(folder), settings, folder / "backbones", dict, lambda: None)
    data = [album.files[sha256] for sha256 in files(album)]
    predictions = versions.predict(version, data).predictions
    assert len(predictions) == len(data)
    for each in predictions:
        assert each.boxes
        assert {box.label for box in each.boxes} == set(each.labels) <= {"red", "blue"}
        assert each.confidence == min(box.confidence for box in each.boxes) > 0
        assert list(each.probabilities) == ["blue", "red"]
    sideways = predictions[-1].boxes
    assert max(box.x + box.w for box in sideways) <= 1_300
    assert max(box.y + box.h for box in sideways) <= 900


def test_what_is_predicted_is_what_would_be_suggested():
    """The precision and recall of a version are those of suggested boxes."""
    places = np.array([(0, 0, 40, 40), (1, 0, 40, 40), (0, 1, 40, 40), (100, 0, 40, 40)], np.float32)
    found = Detections(places, np.array([0, 1, 2, 2]), np.array([0.4, 0.3, 0.25, 0.45], np.float32))
    doubtful = as_boxes(found, ["ant", "bee", "fly"], 0.5)
    assert [(box.label, round(box.confidence, 2)) for box in doubtful.boxes] == [("ant", 0.4)]
    assert doubtful.probabilities == pytest.approx({"ant": 0.4, "bee": 0.3, "fly": 0.45})
    merged = as_boxes(found, ["ant", "ant", "fly"], 0.5)
    assert [box.label for box in merged.boxes] == ["ant"]
    assert not as_boxes(found, [None, "bee", "fly"], 0.5).boxes
    assert list(as_boxes(found, [None, "bee", "fly"], 0.5, ["bee", "fly"]).probabilities) == ["bee", "fly"]


def test_an_onnx_export_finds_the_same_without_flywheel(saved, tmp_path):
    folder, version, album, *_ = saved
    settings = TrainerSettings.load(command_line={"workspace": str(folder)})[0]
    path = export(Registry(folder / "models"), version.name, "onnx", settings, tmp_path / "exports")
    classifier = load_classifier(version, folder / "backbones")
    loaded = SavedDetector(classifier.network, classifier.needs, classifier.device)
    photos = []
    for number, sha256 in enumerate(files(album)):
        photos.append(tmp_path / f"photo{number}")
        photos[-1].write_bytes(album.files[sha256])
    script = tmp_path / "run_detector.py"
    shutil.copy(HOME / "docs" / "files" / "run_detector.py", script)
    # -I: neither the checkout nor anything installed from it by path can be imported.
    blocked = "import sys; sys.modules.update(dict.fromkeys(['torch', 'trainer', 'shared', 'labeler', 'flywheel']))"
    code = f"{blocked}; import runpy; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    asked = [str(path), *map(str, photos), "--draw", str(tmp_path / "drawn")]
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, str(script), *asked], capture_output=True, text=True, check=True
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["image"] for line in lines] == [str(photo) for photo in photos]
    for photo, line in zip(photos, lines, strict=True):
        found = loaded.detect(photo.read_bytes(), LIMITS).suggested(0.1)
        assert [box["label"] for box in line["boxes"]] == [("blue", "red")[place] for place in found.classes]
        places = [[box[side] for side in "xywh"] for box in line["boxes"]]
        np.testing.assert_allclose(places, found.boxes, atol=1.0)
        np.testing.assert_allclose([box["confidence"] for box in line["boxes"]], found.scores, atol=2e-3)
    assert (lines[-1]["width"], lines[-1]["height"]) == (1_300, 900)
    assert len(list((tmp_path / "drawn").iterdir())) == len(photos)


def test_bad_files_are_refused_in_a_sentence(saved, tmp_path):
    folder, version, *_ = saved
    shutil.copytree(folder / "models", tmp_path / "models")
    registry = Registry(tmp_path / "models")
    tensors = load_file(version.model_file)

    def again(name, changed, **more):
        said = description(**{**of_detector(version.description), **more})
        return registry.save(name, {**tensors, **changed}, said, [])

    wrong = {
        "nan": again("nan", {"head.scores.bias": np.array([np.nan, 0], np.float32)}),
        "instead of": again("shape", {"head.scores.bias": np.zeros(3, np.float32)}),
        "other classes": again("classes", {"classes": np.array([1, 2])}),
        "does not belong": again("more", {"extra": np.zeros(1, np.float32)}),
        "does not exist": again("backbone", {}, embeddings="other-000000000000"),
    }
    for words, bad in wrong.items():
        with pytest.raises(RefusedVersion, match="not finite" if words == "nan" else words):
            load_classifier(bad, folder / "backbones")
    changed = {**tensors, "threshold": np.array([0.9], np.float32)}
    save_file(changed, registry.get("classes").model_file)
    with pytest.raises(RefusedVersion, match="checksum"):
        load_classifier(registry.get("classes"), folder / "backbones")


def test_the_model_card_says_what_a_detector_is_and_how_good(saved):
    version = saved[1].description
    card = model_card(version)
    assert "A detector that finds objects of 2 classes" in card
    assert "Not measured yet: 0 of 10 labeled test images when it was saved" in card
    assert "run_detector.py" in card
    each = ClassMetrics(label=RED, name="red", precision=0.9, recall=0.8, f1=0.85, support=40)
    nothing = Interval(value=0, low=0, high=0, n=0)
    metrics = Evaluation(
        id=LOG,
        log_id=LOG,
        acked_seq=1,
        model_version="boxes",
        round=1,
        labels=9,
        spent=29,
        created_at=WHEN,
        accuracy=nothing,
        map_50=Interval(value=0.81, low=0.7, high=0.9, n=20),
        map_50_95=Interval(value=0.5, low=0.4, high=0.6, n=20),
        macro_f1=None,
        log_loss=None,
        classes=[each],
    )
    card = model_card(version.model_copy(update={"metrics": metrics}))
    assert "| mAP at IoU 0.5 | 81.0% (70.0% – 90.0%, 20 images) |" in card
    assert "| red | 90% | 80% | 85% | 40 | – |" in card
