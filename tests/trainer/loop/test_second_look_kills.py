"""A trainer is killed in the middle of the second look: nothing is lost, and the look goes on after the restart."""

import os
import time
from hashlib import sha256
from pathlib import Path

import timm
import torch
from safetensors.torch import save_file

from tests import forks
from tests.trainer.learning import learning, photos, truth, wait_for  # noqa: F401
from tests.trainer.logs import batch, class_rows, entry, label_rows
from trainer.embeddings.second_look import SecondLook
from trainer.loop.ingest import Ingest
from trainer.loop.swap import Swap

IMAGES, LABELS = 60, 6


def network(folder: Path) -> dict[str, object]:
    path = folder / "tiny.safetensors"
    return {"backbone": "test_resnet", "backbone_weights": path, "input_size": 32, "device": "cpu", "batch_size": 16}


def wait_to_be_killed(*_: object) -> None:
    print("there", flush=True)
    time.sleep(600)


def stop_at(place: str) -> None:
    """Let the trainer of this process stop there."""
    if place == "embedding":
        step = SecondLook.step

        def in_the_middle(self, *given):
            if self.view is not None and 0 < self.view.done < self.view.total:
                wait_to_be_killed()
            return step(self, *given)

        SecondLook.step = in_the_middle  # type: ignore[method-assign]
    elif place == "layout":
        refresh = Ingest.refresh

        def of_all_images(self):
            if self.embedder.backbone is not None and self.embedder.backbone.version == 3:
                wait_to_be_killed()
            refresh(self)

        Ingest.refresh = of_all_images  # type: ignore[method-assign]
    else:
        Swap._retire = wait_to_be_killed  # type: ignore[method-assign, assignment]  # after the marker file


def main(arguments: list[str]) -> None:
    """A trainer that learns a few labels, and stops at a place to be killed."""
    folder, place = Path(arguments[0]), arguments[1]
    torch.set_num_threads(1)
    names = [f"{number}.png" for number in range(IMAGES)]
    hashes = [sha256((folder / "photos" / name).read_bytes()).hexdigest() for name in names]
    entries = [entry(number, sha256=each) for number, each in enumerate(hashes)]
    stop_at(place)
    with learning(folder, (folder / "photos", entries), **network(folder)) as trainer:
        labels = label_rows([(number, truth(number)) for number in range(LABELS)], after=2)
        trainer.accept(batch([*class_rows("red", "blue"), *labels], catalog=IMAGES))
        time.sleep(600)


def test_a_trainer_killed_anywhere_in_the_second_look_loses_nothing_and_goes_on(tmp_path, photos):  # noqa: F811
    torch.manual_seed(0)
    save_file(timm.create_model("test_resnet", num_classes=0).state_dict(), tmp_path / "tiny.safetensors")
    stores, seen = tmp_path / "w" / "trainer" / "embeddings", []
    for place in ("embedding", "layout", "before the first round"):
        killed = forks.start("tests.trainer.loop.test_second_look_kills", [str(tmp_path), place], os.environ)
        assert killed.stdout is not None
        with killed.stdout:
            assert any(line.startswith("there") for line in killed.stdout)
            killed.kill()
        killed.wait(30)
        seen.append(sorted(path.stat().st_size // 32 for path in stores.glob("*/sha256.bin")))
        assert len([*stores.glob("*/in-use")]) == (place == "before the first round")
    assert seen[0][0] < seen[0][1] == IMAGES
    assert seen[1:] == [[IMAGES, IMAGES]] * 2, "each image once: what was seen before a kill is not seen again"
    with learning(tmp_path, photos, **network(tmp_path)) as again:
        assert again.replica.acked_seq == 2 + LABELS
        assert wait_for(lambda: again.loop.live.embedder.backbone).version == 3
        wait_for(lambda: (model := again.loop.live.model) is not None and len(model.rows) == LABELS)
        assert len(again.loop.live.pool) == IMAGES
