import pytest

from shared.settings.services import SettingsError, TrainerSettings
from tests.trainer.text.networks import load_backbone, write_network
from trainer.embeddings.backbones.pixels import PixelBackbone
from trainer.text.prompts import prompts_for
from trainer.text.text_network import TextNetwork, check


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A folder, the settings that name the network in it, and those as loaded, with their backbone."""
    folder = tmp_path_factory.mktemp("text")
    given = write_network(folder / "clip", [])
    return folder, given, *load_backbone(folder, given)


def test_the_backbone_must_be_the_image_side(network, tmp_path):
    folder, given, settings, backbone = network
    text = TextNetwork.load(settings)
    assert text.belongs_to(backbone) is None
    assert text.words(["a photo of a hat", "a photo of a shoe"]).shape == (2, 16)
    others = write_network(tmp_path / "clip", [], seed=1)
    of_others = {**given, "backbone_weights": others["backbone_weights"]}
    reason = TextNetwork.load(settings).belongs_to(load_backbone(folder, of_others)[1])
    assert reason == "The backbone 'test_resnet' is not the image side of the text network."
    larger = load_backbone(folder, {**given, "input_size": 64})[1]
    assert "set 'input_size' to 32" in TextNetwork.load(settings).belongs_to(larger)
    another = load_backbone(folder, {**given, "backbone": "test_vit", "backbone_weights": weights_of(tmp_path)})[1]
    assert "is not the image side" in TextNetwork.load(settings).belongs_to(another)
    assert "no network" in TextNetwork.load(settings).belongs_to(PixelBackbone.__new__(PixelBackbone))


def weights_of(folder):
    import timm
    from safetensors.torch import save_file

    save_file(timm.create_model("test_vit", num_classes=0, img_size=32).state_dict(), folder / "vit.safetensors")
    return folder / "vit.safetensors"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("ViT-B-32", "must begin with 'local-dir:'"),
        ("local-dir:/nowhere/at/all", "has no valid open_clip_config.json"),
    ],
)
def test_a_network_that_cannot_be_loaded_is_refused_at_the_start(tmp_path, value, words):
    settings, _ = TrainerSettings.load(command_line={"workspace": str(tmp_path), "text_network": value})
    with pytest.raises(SettingsError, match=words):
        check(settings)


def test_damaged_weights_are_a_sentence(network, tmp_path):
    folder, given, *_ = network
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in (folder / "clip").iterdir():
        (broken / file.name).write_bytes(file.read_bytes()[: 1_000 if file.suffix == ".safetensors" else None])
    settings, _ = load_backbone(folder, {**given, "text_network": f"local-dir:{broken}"})
    with pytest.raises(SettingsError, match="cannot be loaded"):
        TextNetwork.load(settings)


def test_templates_and_words_of_ones_own():
    given = ["a photo of a {}", "a drawing of a {}", "hat = a straw hat", "Hat=a cap"]
    assert prompts_for("shoe", given) == ["a photo of a shoe", "a drawing of a shoe"]
    assert prompts_for("hat", given) == [
        f"a {kind} of a {words}" for kind in ("photo", "drawing") for words in ("a straw hat", "a cap")
    ]
    assert prompts_for("hat", []) == ["hat"]
    with pytest.raises(SettingsError, match="has neither"):
        TrainerSettings.load(command_line={"text_prompts": "no place"})
