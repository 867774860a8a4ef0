"""A tiny network of images and captions, which open_clip reads like a published one."""

import json

import numpy as np
import open_clip
import timm
import torch
from safetensors.torch import save_file
from torch.nn import functional

from shared.settings.services import TrainerSettings
from trainer.embeddings.backbones import timm_networks

SIZE, TRUNK = 32, "test_resnet"
TEXT = {"context_length": 24, "vocab_size": 49_408, "width": 16, "heads": 2, "layers": 1}
VISION = {"timm_model_name": TRUNK, "timm_pool": "", "timm_proj": "linear", "image_size": SIZE}
HALVES = {"mean": [0.5] * 3, "std": [0.5] * 3}


def write_network(folder, described, *, seed=0):
    """A network with random weights in `folder`, but for its last projection: each image of `described`, pairs of
    image and words, lies where its words lie. Returns the settings that make it the project's network.
    """
    folder.mkdir()
    torch.manual_seed(seed)
    config = {"model_cfg": {"embed_dim": 16, "vision_cfg": VISION, "text_cfg": TEXT}, "preprocess_cfg": HALVES}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    trunk = timm.create_model(TRUNK, num_classes=0)
    save_file(trunk.state_dict(), folder.parent / "trunk.safetensors")
    settings = {
        "backbone": TRUNK,
        "backbone_weights": folder.parent / "trunk.safetensors",
        "backbone_mean": "0.5,0.5,0.5",
        "backbone_std": "0.5,0.5,0.5",
        "input_size": SIZE,
        "text_network": f"local-dir:{folder}",
    }
    model = open_clip.create_model(f"local-dir:{folder}", load_weights=False).eval()
    model.visual.trunk.load_state_dict(trunk.state_dict())
    if described:
        pixels, words = zip(*described, strict=True)
        tokens = open_clip.get_tokenizer(f"local-dir:{folder}")(list(words))
        with torch.no_grad():
            texts = model.encode_text(tokens, normalize=True)
            texts = functional.normalize(texts - texts.mean(dim=0))
            features = functional.normalize(trunk.eval()(_inputs(pixels)))
            model.visual.head.proj.weight.copy_((torch.linalg.pinv(features) @ texts).T)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return settings


def load_backbone(tmp_path, settings):
    """The backbone of these settings."""
    given = {"workspace": str(tmp_path / "w"), **{name: str(value) for name, value in settings.items()}}
    loaded, _ = TrainerSettings.load(command_line=given)
    return loaded, timm_networks.from_file(loaded)


def _inputs(pictures):
    stack = [np.asarray(each.resize((SIZE, SIZE)), np.float32).transpose(2, 0, 1) / 255 for each in pictures]
    return torch.from_numpy((np.stack(stack) - 0.5) / 0.5)
