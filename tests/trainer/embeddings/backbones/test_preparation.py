"""A version predicts the same for an image on every path: upload, export, comparison and training."""

from __future__ import annotations

import ast
import runpy
from datetime import UTC, datetime
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import timm
import torch
from numpy.typing import NDArray
from PIL import Image

from shared.images.opening import ImageLimits
from shared.settings.services import TrainerSettings
from shared.wire.images import ImageEntry
from shared.wire.jobs import Job
from tests.services import HOME
from tests.trainer.descriptions import description
from tests.trainer.logs import batch, class_rows
from trainer.embeddings.backbones.feature_blocks import with_layout
from trainer.embeddings.backbones.pixels import PixelBackbone, key_of, preprocessing
from trainer.embeddings.backbones.preparation import PREPROCESSING, Preprocessing
from trainer.embeddings.backbones.saved_backbone import describe, freeze, rebuild
from trainer.embeddings.backbones.torch_networks import TorchBackbone, content_of
from trainer.embeddings.embedder import Embedder
from trainer.embeddings.transform import Projection, fit_projection
from trainer.jobs.compare import answer
from trainer.jobs.train import photographs
from trainer.learners.kernel_head import Head, fit_head
from trainer.sync.image_source import Photos
from trainer.sync.labeler_client import LabelerClient
from trainer.sync.replica import Replica
from trainer.versions.exporting import to_onnx
from trainer.versions.library import Versions
from trainer.versions.predictor import Classifier, load_classifier
from trainer.versions.registry import Registry, Version
from trainer.work.job_context import LabeledImage, Work

LIMITS = ImageLimits(50_000_000, 100_000_000)
SIZES = [(40, 31), (90, 120), (300, 200), (420, 421), (900, 700), (1000, 1300)]
"""Of which the decoder reads the last at an eighth of its size, others at a quarter, at half, and in full."""
Probabilities = NDArray[np.float32]


def scene(size: tuple[int, int], colour: tuple[int, int, int], seed: int) -> Image.Image:
    """Coloured blobs under a fine pattern, which looks different at each decoding scale."""
    rng = np.random.default_rng(seed)
    blobs = Image.fromarray(rng.integers(0, 255, (7, 9, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
    mixed = np.asarray(blobs).astype(np.float32) * 0.5 + np.array(colour, np.float32) * 0.5
    y, x = np.indices(mixed.shape[:2])
    pattern = 60 * (((x // 2 + y // 3) % 3) - 1) + rng.normal(0, 20, mixed.shape[:2])
    return Image.fromarray(np.clip(mixed + pattern[..., None], 0, 255).astype(np.uint8))


def encoded(image: Image.Image, form: str = "JPEG", **more: object) -> bytes:
    stream = BytesIO()
    image.save(stream, form, **more)
    return stream.getvalue()


@pytest.fixture(scope="module")
def photos() -> dict[str, bytes]:
    """JPEGs of very different sizes in two classes, one of them rotated by EXIF, and files of other formats."""
    colours = [(230, 40, 30), (30, 60, 220)]
    found = {
        f"{number}-{kind}.jpg": encoded(scene(size, colours[kind], 2 * number + kind), quality=85)
        for number, size in enumerate(SIZES)
        for kind in range(2)
    }
    exif = Image.Exif()
    exif[0x0112] = 6
    found["turned-0.jpg"] = encoded(scene((700, 400), colours[0], 50), exif=exif)
    found["cmyk-1.jpg"] = encoded(scene((400, 500), colours[1], 51).convert("CMYK"))
    found["grey-0.jpg"] = encoded(scene((320, 320), colours[0], 52).convert("L"))
    clear = scene((500, 300), colours[1], 53).convert("RGBA")
    clear.putalpha(Image.linear_gradient("L").resize(clear.size))
    found["clear-1.png"] = encoded(clear, "PNG")
    deep = (np.asarray(scene((256, 300), colours[0], 54).convert("L")).astype(np.uint16) + 1) * 15
    found["deep-0.png"] = encoded(Image.fromarray(deep), "PNG")
    return found


@pytest.fixture
def work(tmp_path: Path, photos: dict[str, bytes]) -> Work:
    folder = tmp_path / "photos"
    folder.mkdir()
    images = []
    for number, (name, data) in enumerate(photos.items()):
        (folder / name).write_bytes(data)
        images.append(LabeledImage(number, name, sha256(data).hexdigest(), "train", class_of(name)))
    settings = TrainerSettings.load(command_line={"device": "cpu", "images": str(folder), "workspace": str(tmp_path)})[
        0
    ]
    client = LabelerClient(settings.labeler_url, timeout_seconds=1, headers={})
    job = Job(id="1", kind="compare", state="running", created_at=datetime.now(UTC), request={})
    models = Registry(tmp_path / "models")
    return Work(tmp_path, job, settings, images, Photos(settings, client), models, tmp_path / "backbones")


def class_of(name: str) -> int:
    return 1 + int(name.rpartition("-")[2][0])


def network(size: int = 48) -> TorchBackbone:
    torch.manual_seed(0)
    made = with_layout(timm.create_model("test_efficientnet", num_classes=0))
    half = (0.5, 0.5, 0.5)
    return TorchBackbone("test_efficientnet", made, input_size=size, mean=half, std=half, device=torch.device("cpu"))


def pixels() -> PixelBackbone:
    images = [preprocessing(32).cut(scene((100, 90), (255, 0, 60 * seed), seed)) for seed in range(5)]
    return PixelBackbone.fit(images, seed=0)


def learned(work: Work, backbone: TorchBackbone | PixelBackbone) -> tuple[Version, Embedder, Projection, Head]:
    """A head on the images as the trainer embeds them, live and as version "head"."""
    embedder = Embedder(work.settings, work.folder / "embeddings", work.photos.fetch, backbone=backbone)
    pending: list[ImageEntry] = [image.entry for image in work.images]
    while pending:
        done = {entry.id for entry in embedder.step(pending, more_coming=False)}
        assert not embedder.problems
        pending = [entry for entry in pending if entry.id not in done]
    raw = embedder.read([image.sha256 for image in work.images])
    projection = fit_projection(raw.mean(axis=0), raw)
    head = fit_head(projection.transform(raw), np.array([image.class_id for image in work.images]))
    freeze(backbone, work.backbones)
    architecture, needs = describe(backbone)
    said = description(architecture=architecture, input=needs, embeddings=backbone.key)
    tensors = {**head.to_tensors(), "mean": projection.mean, "axes": projection.axes}
    return work.registry.save("head", tensors, said, []), embedder, projection, head


def tuned(work: Work, size: int) -> Version:
    """A fine-tuned network as version "tuned-SIZE"."""
    torch.manual_seed(size)
    made = timm.create_model("test_efficientnet", num_classes=2)
    _, needs = describe(network(size))
    said = description(learner="fine_tuner", architecture="test_efficientnet", input=needs)
    tensors = {name: tensor.numpy() for name, tensor in made.state_dict().items()}
    tensors["classifier.weight"] = 20 * tensors["classifier.weight"]  # so that it is confident of some images
    return work.registry.save(f"tuned-{size}", tensors, said, [])


def by_upload(work: Work, version: Version, folder: Path) -> Probabilities:
    """The answer of POST /predict."""
    replica = Replica(folder)
    replica.accept(batch(class_rows("red", "blue")))
    versions = Versions(work.registry, replica, work.settings, work.backbones, also_needed=dict, measured=lambda: None)
    said = versions.predict(version, [work.fetch(image) for image in work.images]).predictions
    replica.close()
    return np.array([[each.probabilities[name] for name in ("red", "blue")] for each in said], np.float32)


def by_export(work: Work, classifier: Classifier) -> Probabilities:
    """The answer of `python run_export.py model.onnx PHOTO …`, without Flywheel."""
    script = runpy.run_path(str(HOME / "docs" / "files" / "run_export.py"))
    session = onnxruntime.InferenceSession(to_onnx(classifier), providers=["CPUExecutionProvider"])
    about = session.get_modelmeta().custom_metadata_map
    said = []
    for image in work.images:
        path = f"{work.settings.images}/{image.uri}"
        opened = script["prepare"](path, int(about["size"]), squeezed=about["preparation"] == "squeezed")
        values = np.asarray(opened, np.float32).transpose(2, 0, 1)[None]
        said.append(session.run(None, {"images": values})[0][0])
    assert f"({about['decoded_at_least']}, {about['decoded_at_least']})" in about["how_to_prepare"]
    return np.stack(said)


def by_comparison(work: Work, classifier: Classifier) -> Probabilities:
    """The answer in a comparison with a version of another input size."""
    other = load_classifier(tuned(work, 160), work.backbones)
    said, _, unreadable = answer(work, [classifier, other], work.images)
    assert not unreadable
    return said[0]


def by_training(work: Work, classifier: Classifier) -> Probabilities:
    """The answer for images as the fine-tuner reads them."""
    given = photographs(work, work.images, [1, 2], classifier.needs.size, [])
    return classifier.predict_proba([given.pixels(number) for number in range(len(work.images))])


def test_a_head_predicts_the_same_on_every_path(work: Work) -> None:
    version, embedder, projection, head = learned(work, network())
    live = head.predict_proba(projection.transform(embedder.read([image.sha256 for image in work.images])))
    classifier = load_classifier(version, work.backbones)
    uploads = embedder.embed_images([work.fetch(image) for image in work.images])
    ways = {
        "uploads to the current model": head.predict_proba(projection.transform(uploads)),
        "a saved version": by_upload(work, version, work.folder / "replica"),
        "the comparison": by_comparison(work, classifier),
        "the export": by_export(work, classifier),
        "training": by_training(work, classifier),
    }
    embedder.close()
    for way, said in ways.items():
        np.testing.assert_allclose(said, live, atol=1e-3, err_msg=way)
        assert (said.argmax(1) == live.argmax(1)).all(), way


def test_a_fine_tuned_network_predicts_the_same_on_every_path(work: Work) -> None:
    version = tuned(work, 48)
    classifier = load_classifier(version, work.backbones)
    measured = classifier.predict_proba([work.read(image, classifier.preprocessing) for image in work.images])
    assert measured.max(axis=1).min() < 0.9  # not so confident that no change would show
    ways = {
        "uploads": by_upload(work, version, work.folder / "replica"),
        "the comparison": by_comparison(work, classifier),
        "the export": by_export(work, classifier),
        "training": by_training(work, classifier),
    }
    for way, said in ways.items():
        np.testing.assert_allclose(said, measured, atol=1e-3, err_msg=way)


def test_pixels_predict_the_same_on_every_path(work: Work) -> None:
    version, embedder, projection, head = learned(work, pixels())
    live = head.predict_proba(projection.transform(embedder.read([image.sha256 for image in work.images])))
    embedder.close()
    classifier = load_classifier(version, work.backbones)
    for said in (by_upload(work, version, work.folder / "replica"), by_export(work, classifier)):
        np.testing.assert_allclose(said, live, atol=1e-3)


def test_what_is_decoded_at_a_smaller_scale_hardly_differs_from_the_whole(photos: dict[str, bytes]) -> None:
    made, prepared = network(), Preprocessing(48)
    whole = [
        prepared.cut(Image.open(BytesIO(data)).convert("RGB")) for name, data in photos.items() if name[0].isdigit()
    ]
    reduced = [prepared.read(data, LIMITS) for name, data in photos.items() if name[0].isdigit()]
    assert max(np.abs(a.astype(int) - b.astype(int)).mean() for a, b in zip(whole, reduced, strict=True)) < 2.5
    one, other = made.embed(np.stack(whole)), made.embed(np.stack(reduced))
    apart = np.linalg.norm(one - other, axis=1) / np.linalg.norm(one, axis=1)
    assert apart.max() < 0.1


def test_backbones_of_an_earlier_preprocessing_are_known_and_their_embeddings_made_anew(tmp_path: Path) -> None:
    made, fitted = network(), pixels()
    earlier: dict[TorchBackbone | PixelBackbone, str] = {
        made: made.key[:-12] + content_of(made.network, 1, (0.5,) * 3, (0.5,) * 3)[:12],
        fitted: key_of(fitted.mean, fitted.components, 1),
    }
    for backbone, key in earlier.items():
        assert key != backbone.key
        freeze(backbone, tmp_path)
        now = tmp_path / f"{backbone.key}.safetensors"
        # As an earlier release wrote it: under its old key, without the version of its preprocessing.
        (tmp_path / f"{key}.safetensors").write_bytes(
            now.read_bytes().replace(b'\\"preprocessing\\": 2', b'\\"preprocessing\\": 1')
        )
        again = rebuild(tmp_path, key, torch.device("cpu"))
        assert again.key == backbone.key
    assert describe(made)[1].preprocessing == PREPROCESSING


def test_the_two_scripts_that_run_without_flywheel_prepare_images_alike() -> None:
    def source(path: Path) -> str:
        functions = [
            each for each in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(each, ast.FunctionDef)
        ]
        return next(ast.dump(each) for each in functions if each.name == "prepare")

    scripts = HOME / "docs" / "files" / "run_export.py", HOME / "trainer" / "versions" / "load_learner.py"
    assert source(scripts[0]) == source(scripts[1])


def test_no_other_module_makes_inputs_of_images() -> None:
    """Two implementations would give different inputs. Exceptions: wandb's small pictures are for people, and
    `placement` makes the input of a detector, a whole image on a canvas."""
    words = ("open_rgb", "hold_rgb", ".draft(", ".resize(", "ImageOps")
    made = {
        path.name
        for path in (HOME / "trainer").rglob("*.py")
        if any(word in path.read_text(encoding="utf-8") for word in words)
    }
    assert made == {"preparation.py", "placement.py", "wandb_process.py", "load_learner.py"}
