"""Saved versions that can predict, and those that must not."""

from __future__ import annotations

import json
from uuid import uuid4

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.numpy import load_file, save_file

from shared.log import Fold
from shared.settings.services import TrainerSettings
from shared.wire.log import Row
from shared.wire.models import ModelClass, ModelInput
from tests.trainer.descriptions import description
from tests.trainer.logs import LOG, WHEN, class_rows
from trainer.embeddings.backbones.backbone import Backbone
from trainer.embeddings.backbones.compiled import Quick
from trainer.embeddings.backbones.pixels import PixelBackbone
from trainer.embeddings.backbones.saved_backbone import describe, freeze
from trainer.embeddings.backbones.torch_networks import TorchBackbone, own
from trainer.embeddings.transform import fit_projection
from trainer.learners.kernel_head import fit_head
from trainer.versions.predictor import check_project, in_todays_classes, load_classifier, quicken, standing
from trainer.versions.registry import RefusedVersion, Registry

RED, BLUE = (220, 30, 30), (30, 30, 220)


def pictures(count, seed=0):
    """Noisy images, red and blue in turn, and their class ids."""
    rng = np.random.default_rng(seed)
    colours = np.array([RED, BLUE])[np.arange(count) % 2]
    noise = rng.integers(-25, 25, (count, 20, 24, 3))
    pixels = np.clip(colours[:, None, None, :] + noise, 0, 255).astype(np.uint8)
    return [Image.fromarray(each) for each in pixels], 1 + np.arange(count) % 2


def pixel_backbone() -> PixelBackbone:
    images, _ = pictures(30)
    from trainer.embeddings.backbones.pixels import preprocessing

    return PixelBackbone.fit([preprocessing(8).cut(image) for image in images], seed=0)


def torch_backbone(layout: bool = True, version: int = 2) -> TorchBackbone:
    from trainer.embeddings.backbones.feature_blocks import with_layout

    torch.manual_seed(0)
    network = timm.create_model("test_resnet", num_classes=0)
    network = with_layout(network, version) if layout else network
    device = torch.device("cpu")
    return TorchBackbone("test_resnet", network, input_size=32, mean=(0.4,) * 3, std=(0.2,) * 3, device=device)


def saved_head(tmp_path, backbone: Backbone, **more):
    """A head fitted on `backbone` as version "head", with its expected output for 6 other images."""
    images, y = pictures(30)
    raw = backbone.embed(np.stack([backbone.preprocessing.cut(image) for image in images]))
    projection = fit_projection(raw.mean(axis=0), raw)
    head = fit_head(projection.transform(raw), y)
    architecture, needs = describe(backbone)
    freeze(backbone, tmp_path / "backbones")
    given = {"architecture": architecture, "input": needs, "embeddings": backbone.key, **more}
    tensors = {**head.to_tensors(), "mean": projection.mean, "axes": projection.axes}
    version = Registry(tmp_path / "models").save("head", tensors, description(**given), [])
    others, _ = pictures(6, seed=1)
    vectors = backbone.embed(np.stack([backbone.preprocessing.cut(image) for image in others]))
    return version, others, head.predict_proba(projection.transform(vectors))


@pytest.mark.parametrize(
    "make",
    [pixel_backbone, torch_backbone, lambda: torch_backbone(version=3), lambda: torch_backbone(layout=False)],
)
def test_a_saved_head_says_what_the_live_one_said(tmp_path, make):
    version, images, expected = saved_head(tmp_path, make())
    classifier = load_classifier(version, tmp_path / "backbones")
    said = classifier.predict_proba([classifier.preprocessing.cut(image) for image in images])
    np.testing.assert_allclose(said, expected, atol=1e-5)
    assert classifier.predict_proba([]).shape == (0, 2)


@pytest.mark.parametrize("version_of_features", [1, 2, 3])
def test_the_compiled_network_of_a_head_says_the_same(tmp_path, monkeypatch, version_of_features):
    """tests/trainer/embeddings/backbones/test_compiled.py compiles one; here a double counts what it is asked."""
    monkeypatch.setenv("FLYWHEEL_STATE", str(tmp_path / "user"))
    version, images, expected = saved_head(tmp_path, torch_backbone(version=version_of_features))
    classifier = load_classifier(version, tmp_path / "backbones")
    quicken(classifier, version, tmp_path / "backbones")
    [quick] = [each for each in classifier.network.modules() if isinstance(each, Quick)]
    asked = []

    def double(views):
        asked.append(len(views))
        return quick.layout.seen(views)

    quick.eye.graph = double
    said = classifier.predict_proba([classifier.preprocessing.cut(image) for image in images])
    np.testing.assert_allclose(said, expected, atol=1e-5)
    assert asked == [6] * (3 if version_of_features == 3 else 1)


def test_a_version_of_an_unknown_learner_is_refused_in_a_sentence(tmp_path):
    version, *_ = saved_head(tmp_path, pixel_backbone(), learner="oracle")
    with pytest.raises(RefusedVersion, match="made by the learner 'oracle', which this Flywheel does not have"):
        load_classifier(version, tmp_path / "backbones")


def flat() -> torch.nn.Module:
    """Your own network."""
    return torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(4), torch.nn.Flatten())


def test_a_network_of_ones_own_is_built_by_the_setting_and_never_by_the_file(tmp_path):
    path = f"{__name__}:flat"
    settings = TrainerSettings.load(command_line={"model_fn": path, "input_size": "16", "device": "cpu"})[0]
    version, images, expected = saved_head(tmp_path, own(settings))
    classifier = load_classifier(version, tmp_path / "backbones", model_fn=path)
    said = classifier.predict_proba([classifier.preprocessing.cut(image) for image in images])
    np.testing.assert_allclose(said, expected, atol=1e-5)
    for other in ("", "torch:zeros"):
        with pytest.raises(RefusedVersion, match="model_fn"):
            load_classifier(version, tmp_path / "backbones", model_fn=other)


def broken() -> torch.nn.Module:
    raise OSError("no such disk")


def test_a_network_of_ones_own_that_fails_is_a_sentence(tmp_path):
    version, *_ = saved_head(tmp_path, pixel_backbone(), architecture=f"{__name__}:broken")
    with pytest.raises(RefusedVersion, match="no such disk"):
        load_classifier(version, tmp_path / "backbones", model_fn=f"{__name__}:broken")


def saved_network(tmp_path, dataset=(), **more):
    torch.manual_seed(0)
    network = timm.create_model("test_resnet", num_classes=2)
    needs = ModelInput(size=32, preparation="middle square", mean=[0.5] * 3, std=[0.5] * 3)
    given = {"learner": "fine_tuner", "architecture": "test_resnet", "input": needs, **more}
    tensors = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    version = Registry(tmp_path / "models").save("tuned", tensors, description(**given), dataset)
    return version, network.eval()


THRESHOLDS, TEMPERATURE = np.array([0.45, 0.6], np.float32), np.array([1.5], np.float32)


def saved_sigmoids(tmp_path, dataset=(), **more):
    """The same network, with a sigmoid for each class."""
    _, network = saved_network(tmp_path / "one")
    needs = ModelInput(size=32, preparation="middle square", mean=[0.5] * 3, std=[0.5] * 3)
    given = {"learner": "sigmoid_fine_tuner", "architecture": "test_resnet", "input": needs}
    tensors = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    tensors |= {"thresholds": THRESHOLDS, "temperature": TEMPERATURE, **more}
    version = Registry(tmp_path / "models").save("tuned", tensors, description(**given), dataset)
    return version, network


def test_a_fine_tuned_network_for_several_classes_says_what_it_said(tmp_path):
    version, network = saved_sigmoids(tmp_path)
    classifier = load_classifier(version, tmp_path / "backbones")
    inputs = [classifier.preprocessing.cut(image) for image in pictures(3)[0]]
    with torch.inference_mode():
        expected = torch.sigmoid(network((torch.from_numpy(np.stack(inputs)).float() / 255 - 0.5) / 0.5) / 1.5)
    np.testing.assert_allclose(classifier.predict_proba(inputs), expected, atol=1e-5)
    np.testing.assert_array_equal(classifier.thresholds, THRESHOLDS)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"thresholds": np.zeros(3, np.float32)}, "contains 'thresholds' with shape"),
        ({"thresholds": np.array([np.nan, 0], np.float32)}, "contains numbers that are not finite"),
        ({"more": np.zeros(1, np.float32)}, "contains 'more', which does not belong there"),
    ],
)
def test_a_network_for_several_classes_is_checked_before_it_is_used(tmp_path, more, why):
    with pytest.raises(RefusedVersion, match=why):
        load_classifier(saved_sigmoids(tmp_path, **more)[0], tmp_path / "backbones")


def test_a_fine_tuned_network_says_what_it_said(tmp_path):
    version, network = saved_network(tmp_path)
    classifier = load_classifier(version, tmp_path / "backbones")
    inputs = [classifier.preprocessing.cut(image) for image in pictures(3)[0]]
    with torch.inference_mode():
        expected = network((torch.from_numpy(np.stack(inputs)).float() / 255 - 0.5) / 0.5).softmax(1)
    np.testing.assert_allclose(classifier.predict_proba(inputs), expected, atol=1e-5)


@pytest.mark.parametrize("name", ["hf-hub:someone/model", "local-dir:/etc", "os:system", "no_such_net", "../resnet18"])
def test_an_architecture_that_timm_does_not_have_itself_is_refused(tmp_path, name):
    version, _ = saved_network(tmp_path, architecture=name)
    with pytest.raises(RefusedVersion, match="cannot be created"):
        load_classifier(version, tmp_path / "backbones")


def test_other_classes_than_the_weights_have_are_refused(tmp_path):
    classes = [ModelClass(id=number, name=f"{number}") for number in (1, 2, 3)]
    version, _ = saved_network(tmp_path, classes=classes)
    with pytest.raises(RefusedVersion, match=r"fc\.\w+.*instead of"):
        load_classifier(version, tmp_path / "backbones")
    version, *_ = saved_head(
        tmp_path, pixel_backbone(), classes=[ModelClass(id=7, name="a"), ModelClass(id=8, name="b")]
    )
    with pytest.raises(RefusedVersion, match="other classes"):
        load_classifier(version, tmp_path / "backbones")


def rewrite(path, change):
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def test_a_backbone_that_was_replaced_is_refused(tmp_path):
    version, *_ = saved_head(tmp_path, torch_backbone())
    path = next((tmp_path / "backbones").iterdir())
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    tensors["network.conv1.0.weight"] = tensors["network.conv1.0.weight"] * 1.01
    save_file(tensors, path, metadata)
    with pytest.raises(RefusedVersion, match="other weights than its name says"):
        load_classifier(version, tmp_path / "backbones")
    path.unlink()
    with pytest.raises(RefusedVersion, match="does not exist"):
        load_classifier(version, tmp_path / "backbones")


def test_another_input_size_than_the_head_was_fitted_at_is_refused(tmp_path):
    backbone = pixel_backbone()
    version, *_ = saved_head(tmp_path, backbone, input=describe(backbone)[1].model_copy(update={"size": 16}))
    with pytest.raises(RefusedVersion, match="16 pixels"):
        load_classifier(version, tmp_path / "backbones")


def test_numbers_that_are_not_finite_are_refused(tmp_path):
    version, *_ = saved_head(tmp_path, pixel_backbone())

    def spoil(tensors):
        tensors["bias"][0] = np.nan

    rewrite(version.model_file, spoil)
    with pytest.raises(RefusedVersion, match="checksum"):
        load_classifier(version, tmp_path / "backbones")
    described = json.loads((version.folder / "model.json").read_text())
    import hashlib

    described["sha256"] = hashlib.sha256(version.model_file.read_bytes()).hexdigest()
    (version.folder / "model.json").write_text(json.dumps(described))
    with pytest.raises(RefusedVersion, match="not finite"):
        load_classifier(Registry(tmp_path / "models").get("head"), tmp_path / "backbones")


def test_vectors_from_a_file_make_no_classifier(tmp_path):
    version, *_ = saved_head(tmp_path, pixel_backbone(), input=None)
    with pytest.raises(RefusedVersion, match="vectors from a file"):
        load_classifier(version, tmp_path / "backbones")


# ---------------------------------------------------------------- classes that changed since


def fold_after(*changes):
    rows = class_rows("red", "blue", "navy")
    for change in changes:
        rows.append(Row(seq=len(rows) + 1, id=uuid4(), created_at=WHEN, **change))
    return Fold(rows)


THREE = [ModelClass(id=1, name="red"), ModelClass(id=2, name="blue"), ModelClass(id=3, name="navy")]
SAID = np.array([[0.5, 0.3, 0.2], [0.0, 0.0, 1.0]], np.float32)


def test_a_renamed_class_is_what_it_was():
    now = standing(THREE, fold_after({"action": "class_renamed", "label": 1, "name": "scarlet"}))
    ids, said = in_todays_classes(SAID, now)
    assert ids.tolist() == [1, 2, 3]
    np.testing.assert_array_equal(said, SAID)


def test_outputs_of_merged_classes_add_up():
    ids, said = in_todays_classes(SAID, standing(THREE, fold_after({"action": "class_merged", "label": 3, "into": 2})))
    assert ids.tolist() == [1, 2]
    np.testing.assert_allclose(said, [[0.5, 0.5], [0.0, 1.0]])


def test_the_probability_of_a_deleted_class_is_shared_among_the_others():
    ids, said = in_todays_classes(SAID, standing(THREE, fold_after({"action": "class_deleted", "label": 3})))
    assert ids.tolist() == [1, 2]
    np.testing.assert_allclose(said, [[0.625, 0.375], [0.5, 0.5]])


def test_a_version_whose_classes_are_all_deleted_cannot_predict():
    gone = fold_after(*({"action": "class_deleted", "label": k} for k in (1, 2, 3)))
    with pytest.raises(ValueError, match="None of its classes"):
        in_todays_classes(SAID, standing(THREE, gone))


def test_a_version_of_another_project_is_refused_unless_its_classes_mean_the_same(tmp_path):
    version, *_ = saved_head(tmp_path, pixel_backbone())
    check_project(version, str(LOG), Fold())  # the version's own project
    other = str(uuid4())
    check_project(version, other, fold_after({"action": "class_renamed", "label": 1, "name": "scarlet"}))  # an alias
    with pytest.raises(RefusedVersion, match="there class 1 is 'red', and here class 1 is 'cat'"):
        check_project(version, other, Fold(class_rows("cat", "dog")))
    with pytest.raises(RefusedVersion, match="there is no class 1"):
        check_project(version, other, Fold())
