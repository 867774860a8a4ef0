"""`flywheel train`, `finalize` and `models export` against a real trainer."""

import zipfile

from typer.testing import CliRunner

import flywheel


def run(*words):
    return CliRunner().invoke(flywheel.app, [*map(str, words)], env={"COLUMNS": "300"})


def test_the_larger_model_is_trained_and_compared_with_the_one_in_use(url, tmp_path):
    small = ["--arch", "resnet10t", "--weights", "none", "--input-size", 32, "--epochs", 1, "--learning-rate", 0.001]
    done = run("finalize", *small, "--name", "larger", "--no-flip", "--trainer-url", url)
    assert done.exit_code == 0, (done.output, done.exception)
    assert "Trained larger in" in done.output
    assert "On 20 test images the candidate is" in done.output
    listed = run("models", "list", "--trainer-url", url).output
    assert "proxy-" in listed
    assert "fine-tuner" in listed
    assert "resnet10t" in listed
    narrow = CliRunner().invoke(flywheel.app, ["models", "list", "--trainer-url", url], env={"COLUMNS": "80"}).output
    for whole in ("fine-tuner", "resnet10t", "20 test images", "accuracy on", "test (95 %)", "saved (UTC)", "larger"):
        assert whole in narrow
    assert "…" not in narrow
    assert max(map(len, narrow.splitlines()[1:])) <= 80  # the first line says which project it is
    assert "flip = False" in run("models", "show", "larger", "--trainer-url", url).output
    taken = run("models", "export", "larger", tmp_path / "model.zip", "--trainer-url", url)
    assert taken.exit_code == 0, taken.exception
    assert "model.safetensors" in zipfile.ZipFile(tmp_path / "model.zip").namelist()
    refused = run("train", "larger", *small, "--trainer-url", url)
    assert "never overwritten" in str(refused.exception)
