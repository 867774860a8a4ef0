"""A network is compiled for the CPU where that is worth it; its vectors stay the same."""

import logging
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import timm
import torch

from tests.services import wait_for
from trainer.detection.pyramid import Pyramid
from trainer.embeddings.backbones import compiled
from trainer.embeddings.backbones.feature_blocks import VIEWS, with_layout
from trainer.embeddings.backbones.torch_networks import TorchBackbone

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 3, 64, 64)).astype(np.uint8)
SLOW = 60.0


def backbone(*, seed: int = 0) -> TorchBackbone:
    torch.manual_seed(seed)
    network = with_layout(timm.create_model("test_efficientnet", num_classes=0))
    return TorchBackbone(
        "test_efficientnet",
        network,
        input_size=64,
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        device=torch.device("cpu"),
        weights="installed",
    )


def eye_of(network: TorchBackbone, folder: Path) -> compiled.Compiled:
    network.compile_in(folder)
    assert network.eye is not None
    return network.eye


def graphs(cache: Path) -> list[Path]:
    return sorted((cache / compiled.FOLDER).glob("*"))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache."""
    monkeypatch.setenv("FLYWHEEL_STATE", str(tmp_path / "user"))
    return tmp_path / "user" / "cache"


@pytest.fixture
def worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any time that torch computes is worth a graph."""
    monkeypatch.setattr(compiled, "WORTH_SECONDS", 0.0)


@pytest.mark.usefixtures("worth_it")
def test_a_graph_takes_over_and_serves_the_next_project_and_the_second_look(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first = backbone()
    expected = first.embed(IMAGES)
    eye = eye_of(first, tmp_path / "one")
    others = graphs_of_others(cache, compiled.MOST + 1)
    np.testing.assert_array_equal(first.embed(IMAGES), expected)  # torch goes on in the meantime
    wait_for(lambda: eye.graph, "the graph", SLOW)
    np.testing.assert_allclose(first.embed(IMAGES), expected, atol=1e-5)
    np.testing.assert_allclose(first.embed(IMAGES[:1]), expected[:1], atol=1e-5)
    assert graphs(cache) == sorted([*others[2:], eye.path])  # those used last

    monkeypatch.setattr(compiled.Compiled, "_trace", lambda _: pytest.fail("traced again"))
    second = first.in_version(VIEWS)
    expected = second.embed(IMAGES)
    again = eye_of(second, tmp_path / "another")
    wait_for(lambda: again.graph, "the graph of before", SLOW)
    np.testing.assert_allclose(second.embed(IMAGES), expected, atol=1e-5)

    caplog.set_level(logging.INFO)
    other = backbone(seed=1)
    shutil.copy(eye.path, eye_of(other, tmp_path).path)
    refused = eye_of(other, tmp_path)
    wait_for(lambda: "differs from the network" in caplog.text, "that the graph of other weights is refused", SLOW)
    assert refused.graph is None


@pytest.mark.usefixtures("worth_it", "cache")
def test_the_maps_of_a_detector_stay_the_same(tmp_path: Path) -> None:
    pyramid = Pyramid(backbone())
    [expected, _, last] = pyramid.maps(IMAGES)
    pyramid.compile_in(tmp_path)
    pyramid.maps(IMAGES)
    wait_for(lambda: pyramid.compiled and pyramid.compiled.graph, "the graph", SLOW)
    [first, _, third] = pyramid.maps(IMAGES)
    for there, here in zip([*expected, *last], [*first, *third], strict=True):
        torch.testing.assert_close(here, there, rtol=0.01, atol=0.01)  # both are rounded to 16 bits


def test_a_small_project_is_embedded_before_a_graph_would_be_made(tmp_path: Path, cache: Path) -> None:
    network = backbone()
    eye = eye_of(network, tmp_path)
    network.embed(IMAGES)
    assert graphs(cache) == []
    assert eye.graph is None


def test_torch_computes_where_a_graph_is_damaged_or_fails(
    tmp_path: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    network = backbone()
    expected = network.embed(IMAGES)
    eye_of(network, tmp_path).path.write_bytes(b"no graph")
    eye = eye_of(network, tmp_path)
    wait_for(lambda: "not compiled" in caplog.text, "the damaged file", SLOW)
    np.testing.assert_array_equal(network.embed(IMAGES), expected)
    wait_for(lambda: graphs(cache) == [], "that the next start makes another one", SLOW)

    eye.graph = broken
    np.testing.assert_array_equal(network.embed(IMAGES), expected)
    assert eye.graph is None
    assert "no memory" in caplog.text


def test_without_a_cache_graphs_are_in_the_workspace(tmp_path: Path, cache: Path) -> None:
    cache.parent.write_bytes(b"a file, where the folder would be")
    assert eye_of(backbone(), tmp_path).path.parent == tmp_path / compiled.FOLDER


def graphs_of_others(cache: Path, count: int) -> list[Path]:
    """Files of other networks, the oldest first."""
    paths = [cache / compiled.FOLDER / f"{number}.onnx" for number in range(count)]
    for number, path in enumerate(paths):
        path.write_bytes(b"another graph")
        os.utime(path, (number, number))
    return paths


def broken(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    raise RuntimeError("no memory")
