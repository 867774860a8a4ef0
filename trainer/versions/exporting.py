"""A saved version in common formats: ONNX, torch.export, safetensors with its configuration, a model card.

An export maps pixel values from 0 to 255 to class probabilities. Normalisation, backbone and head are inside it, so its
user only crops and resizes the image. With several classes per image, its metadata contains their thresholds. Each
export is tested before it is handed out, and refused if its output differs from the version's. It is made in its own
process (`python -m`), because tracing a network takes seconds and labeling must not wait. It is cached, because a
version never changes.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import traceback
import zipfile
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save

from shared.processes import child_environment
from shared.settings.services import TrainerSettings
from shared.storage.whole_files import write_whole
from trainer.embeddings.backbones.preparation import in_words
from trainer.threads import leave_a_core
from trainer.versions.model_card import model_card
from trainer.versions.predictor import Classifier, load_classifier
from trainer.versions.registry import RefusedVersion, Registry, Version

TOLERANCE = 1e-4
"""Maximum difference between the probabilities of the export and of torch."""
BEHIND = 10
"""Priority of the process: behind the trainer, but before the jobs, because somebody waits for the file."""
EXPORT_SECONDS = 600.0
CHECKED = 4
"""Number of noise images in the test."""
FORMATS = {"onnx": "onnx", "torch": "pt2", "zip": "zip", "fastai": "fastai.zip", "card": "md"}
"""Format → file extension. `zip` contains weights, configuration, labels and card; `fastai` also builds a Learner."""


def to_onnx(classifier: Classifier) -> bytes:
    """An ONNX model: `images` (B, 3, S, S) float32 from 0 to 255 → `probabilities` (B, K), for any B.

    For a detector, it returns `scores` (B, P, K) and `corners` (B, P, 4) at each point of the canvas instead; see
    `docs/files/run_detector.py`.

    Raises RefusedVersion if onnxruntime and torch disagree, or if packages are missing.
    """
    if find_spec("onnx") is None or find_spec("onnxscript") is None or find_spec("onnxruntime") is None:
        raise RefusedVersion("Exporting to ONNX needs more packages: pip install 'flywheel-labeling[onnx]'.")
    import onnx
    import onnxruntime

    program = torch.onnx.export(
        classifier.network,
        (_noise(classifier, 2),),
        dynamo=True,
        input_names=["images"],
        output_names=list(_outputs(classifier)),
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        verbose=False,
    )
    assert program is not None  # noqa: S101 - with dynamo it returns a program
    model = program.model_proto
    for key, value in _metadata(classifier).items():
        model.metadata_props.add(key=key, value=value)
    onnx.checker.check_model(model)
    data = model.SerializeToString()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    _check(classifier, lambda images: session.run(None, {"images": images.numpy()}), "ONNX")
    return bytes(data)


def to_torch(classifier: Classifier) -> bytes:
    """A torch.export program: values from 0 to 255 (B, 3, S, S) → probabilities (B, K), for any B.

    Raises RefusedVersion if the program and the version disagree.
    """
    program = torch.export.export(
        classifier.network, (_noise(classifier, 2),), dynamic_shapes=({0: torch.export.Dim("batch")},)
    )
    stream = io.BytesIO()
    torch.export.save(program, stream, extra_files=_metadata(classifier))
    loaded = torch.export.load(io.BytesIO(stream.getvalue())).module()
    _check(classifier, lambda images: _arrays(loaded(images)), "torch.export")
    return stream.getvalue()


def to_zip(version: Version, classifier: Classifier) -> bytes:
    """All of a version: weights of network and head, configuration, labels, card."""
    stream = io.BytesIO()
    tensors = {name: tensor.contiguous() for name, tensor in classifier.network.state_dict().items()}
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("model.safetensors", save(tensors, _metadata(classifier)))
        archive.write(version.folder / "model.json", "model.json")
        archive.write(version.folder / "dataset.csv", "dataset.csv")
        archive.writestr("README.md", model_card(version.description))
    return stream.getvalue()


def to_fastai(version: Version) -> bytes:
    """The version's files and a function that builds a fastai Learner from them.

    It contains no pickle, unlike fastai's own export: opening a pickle runs whatever code is in it. Raises
    RefusedVersion unless the version is a fine-tuned timm network.
    """
    said = version.description
    if not said.opens_in_fastai:
        raise RefusedVersion(
            f"Version {version.name!r} cannot become a fastai Learner: only a fine-tuned timm network "
            "(`flywheel train`) can."
        )
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in ("model.safetensors", "model.json", "dataset.csv"):
            archive.write(version.folder / name, name)
        archive.write(Path(__file__).with_name("load_learner.py"), "load_learner.py")
        archive.writestr("README.md", model_card(said))
    return stream.getvalue()


def export(registry: Registry, name: str, format: str, settings: TrainerSettings, exports: Path) -> Path:
    """The file of a version in a format of `FORMATS`. Created on first use, in a separate process that runs the
    network.

    Raises UnknownVersion, RefusedVersion, and ValueError for an unknown format.
    """
    version = registry.get(name)
    if format not in FORMATS:
        raise ValueError(f"There is no export format {format!r}. Choose one of {', '.join(FORMATS)}.")
    # The hash distinguishes a version from an earlier one of the same name.
    target = exports / f"{name}-{version.description.sha256[:8]}.{FORMATS[format]}"
    if target.is_file():
        return target
    if format == "card":
        write_whole(target, model_card(version.description).encode())
        return target
    if format == "fastai":
        write_whole(target, to_fastai(version))
        return target
    request = {
        "models": str(registry.folder.absolute()),
        "version": name,
        "format": format,
        "target": str(target.absolute()),
        "model_fn": settings.model_fn,
    }
    try:
        done = run(json.dumps(request), child_environment())
    except subprocess.TimeoutExpired:
        raise RefusedVersion(f"Exporting version {name!r} took more than {EXPORT_SECONDS:.0f} seconds.") from None
    if not target.is_file():
        said = done.stderr.strip().splitlines()
        raise RefusedVersion(f"Version {name!r} cannot be exported: {said[-1] if said else done.returncode}")
    return target


def run(request: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run `main` in its own process. Raises subprocess.TimeoutExpired."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "trainer.versions.exporting"],
        input=request,
        env=environment,
        capture_output=True,
        text=True,
        timeout=EXPORT_SECONDS,
    )


def main() -> int:
    """Make the export that stdin describes. After an error, the last line of stderr explains it."""
    request: dict[str, Any] = json.load(sys.stdin)
    os.setpriority(os.PRIO_PROCESS, 0, max(os.getpriority(os.PRIO_PROCESS, 0), BEHIND))
    leave_a_core()
    models = Path(request["models"])
    try:
        version = Registry(models).get(request["version"])
        classifier = load_classifier(version, models.parent / "backbones", model_fn=request["model_fn"])
        makers: dict[str, Callable[[], bytes]] = {
            "onnx": lambda: to_onnx(classifier),
            "torch": lambda: to_torch(classifier),
            "zip": lambda: to_zip(version, classifier),
        }
        data = makers[request["format"]]()
    except RefusedVersion as error:
        print(error, file=sys.stderr)
        return 3
    except Exception as error:
        traceback.print_exc()
        print(in_one_line(error), file=sys.stderr)
        return 1
    write_whole(Path(request["target"]), data)
    return 0


def in_one_line(error: BaseException) -> str:
    """What went wrong: the cause, because PyTorch wraps it into pages of advice, whose last line does not say it."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _metadata(classifier: Classifier) -> dict[str, str]:
    """Usage information, stored inside the exported file."""
    licence = {"weights_licence": classifier.licence} if classifier.licence else {}
    several = {} if classifier.thresholds is None else {"thresholds": json.dumps(classifier.thresholds.tolist())}
    found: dict[str, str] = {}
    if classifier.needs.preparation == "letterbox":
        background = [round(each * 255) for each in classifier.needs.mean]
        threshold = float(classifier.network.get_buffer("threshold"))
        found = {"task": "detection", "threshold": f"{threshold:.4f}", "background": json.dumps(background)}
    return {
        **licence,
        **several,
        **found,
        "version": classifier.version,
        "classes": json.dumps([each.name for each in classifier.classes], ensure_ascii=False),
        "size": str(classifier.needs.size),
        "preparation": classifier.needs.preparation,
        "decoded_at_least": str(classifier.preprocessing.decoded_at_least),
        "how_to_prepare": in_words(classifier.preprocessing),
    }


def _noise(classifier: Classifier, count: int) -> torch.Tensor:
    size = classifier.needs.size
    draws = np.random.default_rng(0).integers(0, 256, (count, 3, size, size))
    return torch.from_numpy(draws.astype(np.float32))


def _check(classifier: Classifier, answer: Callable[[torch.Tensor], Sequence[NDArray[np.float32]]], name: str) -> None:
    images = _noise(classifier, CHECKED)
    with torch.inference_mode():
        expected = _arrays(classifier.network(images))
    sizes: Sequence[slice] = (slice(0, 1), slice(0, CHECKED))  # a single image, and several
    for part in sizes:
        for output, said, wanted in zip(_outputs(classifier), answer(images[part]), expected, strict=True):
            apart = float(np.abs(said - wanted[part]).max()) / _outputs(classifier)[output]
            if not apart <= TOLERANCE:
                raise RefusedVersion(f"The {name} export differs from the version: by up to {apart:.2g} in {output}.")


def _outputs(classifier: Classifier) -> dict[str, float]:
    """The name of each output → the scale of its values."""
    if classifier.needs.preparation == "letterbox":
        return {"scores": 1.0, "corners": float(classifier.needs.size)}
    return {"probabilities": 1.0}


def _arrays(said: torch.Tensor | tuple[torch.Tensor, ...]) -> list[NDArray[np.float32]]:
    parts = (said,) if isinstance(said, torch.Tensor) else said
    return [part.detach().numpy() for part in parts]


if __name__ == "__main__":
    sys.exit(main())
