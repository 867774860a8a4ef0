"""Exports equal the version's output, and run without Flywheel."""

import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
from safetensors.numpy import load

from shared.settings.services import TrainerSettings
from shared.wire.evaluation import ClassMetrics, Evaluation, Interval
from shared.wire.models import FINE_TUNED, ModelClass
from tests.services import HOME
from tests.trainer.logs import LOG, WHEN
from tests.trainer.versions.test_predictor import (
    pictures,
    pixel_backbone,
    saved_head,
    saved_network,
    saved_sigmoids,
    torch_backbone,
)
from trainer.versions import exporting
from trainer.versions.exporting import export, to_onnx
from trainer.versions.model_card import model_card
from trainer.versions.predictor import load_classifier
from trainer.versions.registry import RefusedVersion, Registry
from trainer.versions.saved_learners import LEARNERS


def exported(tmp_path, version, format):
    settings = TrainerSettings.load(command_line={"workspace": str(tmp_path)})[0]
    return export(Registry(tmp_path / "models"), version.name, format, settings, tmp_path / "exports")


@pytest.fixture
def photos(tmp_path):
    """Six image files that are not square."""
    paths = []
    for number, picture in enumerate(pictures(6, seed=1)[0]):
        paths.append(tmp_path / f"{number}.png")
        picture.save(paths[-1])
    return paths


def test_an_onnx_export_runs_without_flywheel_and_says_the_same(tmp_path, photos):
    """tests/trainer/embeddings/backbones/test_preparation.py has other networks, in this process."""
    version, _, expected = saved_head(tmp_path, torch_backbone())
    path = exported(tmp_path, version, "onnx")
    script = tmp_path / "elsewhere" / "run_export.py"
    script.parent.mkdir()
    script.write_text((HOME / "docs" / "files" / "run_export.py").read_text(encoding="utf-8"), encoding="utf-8")
    # -I: neither the checkout nor anything installed from it by path can be imported.
    blocked = "import sys; sys.modules.update(dict.fromkeys(['torch', 'trainer', 'shared', 'labeler', 'flywheel']))"
    code = f"{blocked}; import runpy; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, str(script), str(path), *map(str, photos)],
        cwd=script.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    names = [each.name for each in version.description.classes]
    assert [line[1] for line in lines] == [names[row.argmax()] for row in expected]
    np.testing.assert_allclose([float(line[2]) for line in lines], expected.max(axis=1), atol=2e-3)
    assert exported(tmp_path, version, "onnx") == path  # made once


def test_a_torch_export_says_the_same_for_any_number_of_images(tmp_path):
    version, _ = saved_network(tmp_path)
    program = torch.export.load(exported(tmp_path, version, "torch")).module()
    classifier = load_classifier(version, tmp_path / "backbones")
    inputs = [classifier.preprocessing.cut(image) for image in pictures(5)[0]]
    for count in (1, 5):
        said = program(torch.from_numpy(np.stack(inputs[:count])).float()).detach().numpy()
        np.testing.assert_allclose(said, classifier.predict_proba(inputs[:count]), atol=1e-4)


def test_the_archive_holds_everything(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")  # the process tells what it imports, and is no fork
    run, done = exporting.run, []

    def noted(*asked):
        done.append(run(*asked))
        return done[-1]

    monkeypatch.setattr(exporting, "run", noted)
    version, *_ = saved_head(tmp_path, pixel_backbone())
    with zipfile.ZipFile(exported(tmp_path, version, "zip")) as archive:
        assert sorted(archive.namelist()) == ["README.md", "dataset.csv", "model.json", "model.safetensors"]
        assert json.loads(archive.read("model.json"))["learner"] == "head"
        tensors = load(archive.read("model.safetensors"))
        assert {"anchors", "weights", "backbone.network.components"} <= set(tensors)
    imported = {line.rpartition("|")[2].strip() for line in done[0].stderr.splitlines()}
    assert ("torch" in imported, "timm" in imported) == (True, False)  # timm is not needed, and takes long


def test_an_export_that_says_something_else_is_refused(tmp_path):
    version, *_ = saved_head(tmp_path, pixel_backbone())
    classifier = load_classifier(version, tmp_path / "backbones")

    class Moody(torch.nn.Module):
        """A network that answers differently while it is traced."""

        def forward(self, images):
            shift = 1.0 if torch.compiler.is_compiling() else 0.0
            return torch.softmax(images.flatten(1)[:, :2] / 255 + torch.tensor([shift, 0.0]), 1)

    from dataclasses import replace

    with pytest.raises(RefusedVersion, match="differs from the version"):
        to_onnx(replace(classifier, network=Moody().eval()))


def test_an_impossible_export_gives_one_sentence(tmp_path):
    version, *_ = saved_head(tmp_path, pixel_backbone())
    with pytest.raises(ValueError, match="no export format 'exe'"):
        exported(tmp_path, version, "exe")
    next((tmp_path / "backbones").iterdir()).unlink()
    with pytest.raises(RefusedVersion, match="does not exist"):
        exported(tmp_path, version, "onnx")


def test_what_a_library_explains_in_pages_is_told_by_its_cause():
    pages = RuntimeError("Failed to export.\nNext steps:\n(Refer to the full stack trace above.)")
    pages.__cause__ = AttributeError("module 'z3' has no attribute 'ExprRef'\nand more")
    assert exporting.in_one_line(pages) == "AttributeError: module 'z3' has no attribute 'ExprRef'"
    assert exporting.in_one_line(KeyError()) == "KeyError"


def test_a_card_tells_data_figures_and_limits(tmp_path):
    classes = [ModelClass(id=1, name="red|ish"), ModelClass(id=2, name="blue")]
    said = [
        ClassMetrics(label=1, name="red|ish", precision=0.9, recall=0.8, f1=0.85, support=30),
        ClassMetrics(label=2, name="blue", precision=None, recall=1.0, f1=1.0, support=5),
    ]
    metrics = Evaluation(
        id=LOG,
        log_id=LOG,
        acked_seq=10,
        model_version="head",
        round=1,
        labels=8,
        spent=43,
        created_at=WHEN,
        accuracy=Interval(value=0.9, low=0.8, high=0.95, n=35),
        macro_f1=0.88,
        log_loss=0.3,
        classes=said,
    )
    counts = {"red|ish": 5, "blue": 3}
    version, *_ = saved_head(tmp_path, pixel_backbone(), classes=classes, metrics=metrics, labels_by_class=counts)
    card = model_card(version.description)
    for part in (
        "# head\n",
        r"| red\|ish | 5 |",
        "90.0% (80.0% – 95.0%, Wilson 95 %)",
        "On 35 test images",
        "| blue | – | 100% | 100% | 5 |",
        "Unreliable figures, with fewer than 20 test images: blue.",
        "8 × 8 pixels",
    ):
        assert part in card
    active = version.description.model_copy(update={"metrics": metrics.model_copy(update={"active": True})})
    assert "of which hard ones were asked more often (the accuracy is weighted for it)" in model_card(active)
    unmeasured = version.description.model_copy(update={"metrics": None})
    assert "Not measured" in model_card(unmeasured)


LEARN = """
import json, sys
for folder, photos in json.loads(sys.argv[1]):
    sys.path.insert(0, folder)
    sys.modules.pop("load_learner", None)
    from load_learner import load_learner
    learner = load_learner(folder, photos)
    with learner.no_bar(), learner.no_logging():
        label, _, probabilities = learner.predict(photos + "/0.png")
        seen = sorted(int(row) for row in learner.dls.train_ds.items["uri"].str.removesuffix(".png"))
        seen += sorted(int(row) for row in learner.dls.valid_ds.items["uri"].str.removesuffix(".png"))
        learner.fit(1)
    print(label if isinstance(label, str) else ";".join(label) or "none", *probabilities.tolist())
    print(*sorted(seen))
"""


@pytest.fixture(scope="module")
def learners(tmp_path_factory):
    """Whether the learner knows several classes → the folder of the version, the version, and two lines printed by a
    process that imports neither Flywheel nor this test. It imports fastai, which is slow, once for both.
    """
    made, asked = [], []
    for several in (False, True):
        root, rows = tmp_path_factory.mktemp("learner"), []
        for number, picture in enumerate(pictures(12)[0]):
            picture.save(root / f"{number}.png")
            split = "test" if number < 4 else "train"
            row = {"uri": f"{number}.png", "split": split, "label": ("red", "blue")[number % 2]}
            rows.append(row | {"class_id": ("1;-2", "-1", "1;2", "-2")[number % 4]} if several else row)
        version, _ = (saved_sigmoids if several else saved_network)(root, rows)
        with zipfile.ZipFile(exported(root, version, "fastai")) as archive:
            archive.extractall(root / "unpacked")
        made.append((root, version))
        asked.append((str(root / "unpacked"), str(root)))
    command = [sys.executable, "-I", "-c", LEARN, json.dumps(asked)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=made[0][0])
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()[-4:]
    return {False: (*made[0], lines[:2]), True: (*made[1], lines[2:])}


@pytest.mark.parametrize("several", [False, True])
def test_a_fastai_learner_says_the_same_and_learns_on(learners, several):
    folder, version, lines = learners[several]
    (label, *said), seen = (line.split() for line in lines)
    classifier = load_classifier(version, folder / "backbones")
    (expected,) = classifier.predict_proba([classifier.preprocessing.cut(pictures(1)[0][0])])
    np.testing.assert_allclose([float(each) for each in said], expected, atol=1e-3)
    names = [each.name for each in version.description.classes]
    limits = expected.max() if classifier.thresholds is None else classifier.thresholds
    assert label == (";".join(name for name, has in zip(names, expected >= limits, strict=True) if has) or "none")
    assert [int(each) for each in seen] == list(range(4, 12))  # no test image


def test_a_head_is_no_fastai_learner(tmp_path):
    version, *_ = saved_head(tmp_path, pixel_backbone())
    assert {name for name, each in LEARNERS.items() if each.whole_network} == {*FINE_TUNED}  # as the pages know
    with pytest.raises(RefusedVersion, match="cannot become a fastai Learner"):
        exported(tmp_path, version, "fastai")
