"""`flywheel train`, `finalize` and `models export` against a real trainer."""

import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest
from typer.testing import CliRunner

import flywheel
from commands.models.training import _compared
from commands.running.place import find
from commands.running.reach import ask
from shared.settings.services import SettingsError
from shared.wire.jobs import ComparisonRequest
from tests.services import wait_for


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


def test_a_failed_attempt_leaves_no_version(url):
    small = ["--arch", "resnet10t", "--weights", "none", "--input-size", 32, "--epochs", 1]
    for wrong, said in [
        (["--min-delta", "speed=1"], "--min-delta speed: Input should be 'accuracy'"),
        (["--min-delta", "accuracy"], "METRIC=NUMBER"),
        (["--base", "gone"], "'gone'"),
        (["--train", "annotator=nobody"], "selected by 'train'"),
    ]:
        refused = run("finalize", *small, *wrong, "--trainer-url", url)
        assert said in str(refused.exception), refused.output
    assert ask(f"{url}/models")["models"] == []
    assert ask(f"{url}/jobs")["jobs"] == []


def test_a_comparison_that_ends_without_a_result_leaves_no_version(url):
    ask(f"{url}/models", "POST", json={"name": "first"})
    ask(f"{url}/pause", "POST")  # jobs wait
    with ThreadPoolExecutor(1, thread_name_prefix="finalize") as other:
        asked = ComparisonRequest(base="now", candidate="first")
        ended = other.submit(_compared, find(None, None, url), asked)
        wait_for(lambda: ask(f"{url}/jobs")["jobs"])
        assert len(ask(f"{url}/models")["models"]) == 2
        ask(f"{url}/jobs/{ask(f'{url}/jobs')['jobs'][0]['id']}", "DELETE")
        with pytest.raises(SettingsError, match="was cancelled"):
            ended.result()
    assert [each["version"] for each in ask(f"{url}/models")["models"]] == ["first"]
