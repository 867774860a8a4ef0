"""What only an NVIDIA GPU can show: the vectors of a CPU but for rounding, small batches when others fill the memory,
and the memory given back. Skipped where there is none.
"""

from collections.abc import Iterator
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch import nn

from shared.images.opening import ImageLimits
from shared.settings.services import TrainerSettings
from shared.wire.images import ImageEntry
from shared.wire.models import ModelInput
from trainer.embeddings.backbones.feature_blocks import with_layout
from trainer.embeddings.backbones.torch_networks import TorchBackbone
from trainer.embeddings.embedder import Embedder
from trainer.gpu.half import Half
from trainer.gpu.memory import give_back
from trainer.sync.image_source import Photos
from trainer.sync.labeler_client import LabelerClient
from trainer.versions.networks import FineTunedNetwork
from trainer.versions.predictor import Classifier, on_gpu

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no NVIDIA GPU")

SIZE = 224
HALF = (0.5, 0.5, 0.5)
LIMITS = ImageLimits(max_bytes=1_000_000, max_pixels=1_000_000)
CPU, GPU = torch.device("cpu"), torch.device("cuda")


def backbone(name: str, device: torch.device) -> TorchBackbone:
    torch.manual_seed(0)
    network: nn.Module = with_layout(timm.create_model(name, num_classes=0))
    return TorchBackbone(name, network, input_size=SIZE, mean=HALF, std=HALF, device=device)


def photo(seed: int) -> bytes:
    draws, stream = np.random.default_rng(seed), BytesIO()
    shapes = Image.fromarray(draws.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((320, 240))
    shapes.save(stream, "JPEG", quality=90)
    return stream.getvalue()


def noise(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 256, (count, 3, SIZE, SIZE), dtype=np.uint8)


@pytest.fixture
def filled() -> Iterator[list[torch.Tensor]]:
    """Nearly all of the GPU's memory, taken by somebody else."""
    give_back()
    free = torch.cuda.mem_get_info()[0]
    held = [torch.empty(free - 2 * 2**30, dtype=torch.uint8, device=GPU)]
    yield held
    held.clear()
    give_back()


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "resnet50", "vit_small_patch16_224"])
def test_the_vectors_are_those_of_a_cpu_but_for_rounding(name: str) -> None:
    images = noise(6)
    one, other = backbone(name, CPU), backbone(name, GPU)
    assert other._runner is not None
    assert isinstance(other._runner.network, Half)
    wanted, found = one.embed(images), other.embed(images)
    assert one.key == other.key
    assert found.dtype == np.float32
    assert float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted)) < 0.01
    cosine = (found * wanted).sum(axis=1) / np.linalg.norm(found, axis=1) / np.linalg.norm(wanted, axis=1)
    assert cosine.min() > 0.9999


def test_a_full_memory_makes_batches_small_and_loses_no_vector(filled: list[torch.Tensor]) -> None:
    images = noise(600)
    network = backbone("resnet50", GPU)
    runner = network._runner
    assert runner is not None
    assert runner.at_once < 512  # it saw that little is free
    expected = network.embed(images)
    runner.at_once = 600
    filled.append(torch.empty(torch.cuda.mem_get_info()[0] - 2**29, dtype=torch.uint8, device=GPU))
    np.testing.assert_allclose(network.embed(images), expected, atol=5e-3 * float(np.abs(expected).max()))
    assert runner.at_once < 600


def test_the_memory_of_batches_is_given_back_when_all_images_are_embedded(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    entries = []
    for number in range(400):
        data = photo(number)
        (tmp_path / "photos" / f"{number}.jpg").write_bytes(data)
        digest = sha256(data).hexdigest()
        entries.append(ImageEntry(id=number, uri=f"{number}.jpg", sha256=digest, split="train", removed=False))
    give_back()
    before = torch.cuda.memory_reserved()
    given = {
        "images": str(tmp_path / "photos"),
        "labeler_url": "http://127.0.0.1:9",
        "model_fn": f"{__name__}:lite0",
        "input_size": SIZE,
        "device": "cuda",
    }
    settings = TrainerSettings.load(command_line={**given, "workspace": str(tmp_path / "workspace")})[0]
    client = LabelerClient(settings.labeler_url, timeout_seconds=1.0)
    embedder = Embedder(settings, tmp_path / "vectors", Photos(settings, client).fetch)
    try:
        done: set[int] = set()
        most, processes = 0, 0
        while len(done) < len(entries):
            pending = [entry for entry in entries if entry.id not in done]
            done |= {entry.id for entry in embedder.step(pending, more_coming=False)}
            most = max(most, torch.cuda.memory_reserved())
            decoders = embedder._reader._decoders
            processes = max(processes, len(decoders.pids) if decoders is not None else 0)
        assert processes > 0
        embedder.step([], more_coming=False)
        assert torch.cuda.memory_reserved() - before < 0.2 * (most - before)
        assert isinstance(embedder.backbone, TorchBackbone)
        cpu = backbone("tf_efficientnet_lite0", CPU)
        inputs = [cpu.preprocessing.read(photo(number), LIMITS) for number in range(8)]
        wanted, found = cpu.embed(inputs), embedder.read([entry.sha256 for entry in entries[:8]])
        assert float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted)) < 0.01
    finally:
        embedder.close()
        client.close()


def test_predictions_in_16_bits_are_those_of_a_cpu_but_for_rounding() -> None:
    needs = ModelInput(preprocessing=2, size=SIZE, preparation="middle square", mean=list(HALF), std=list(HALF))
    torch.manual_seed(0)
    network: nn.Module = timm.create_model("resnet50", num_classes=10)
    made = FineTunedNetwork(network, needs).eval().requires_grad_(False)
    images = list(noise(40))
    wanted = Classifier("one", [], needs, made, CPU).predict_proba(images)
    moved = made.to(GPU)
    found = Classifier("one", [], needs, moved, GPU, runner=on_gpu(moved, SIZE, GPU)).predict_proba(images)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    assert float(np.abs(found - wanted).max()) < 0.005


def lite0() -> nn.Module:
    torch.manual_seed(0)
    network: nn.Module = with_layout(timm.create_model("tf_efficientnet_lite0", num_classes=0))
    return network
