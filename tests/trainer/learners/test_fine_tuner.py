"""The fine-tuner over a network as small as can be."""

import numpy as np
import pytest
import torch
from torch import nn

from trainer.learners.fine_tuner import RATES, Plan, fine_tune, logits_of
from trainer.objectives.objective import OneClass, SeveralClasses

CPU = torch.device("cpu")


class Colours:
    """Red and blue squares with noise."""

    def __init__(self, count, seed):
        rng = np.random.default_rng(seed)
        self.targets = np.arange(count, dtype=np.int64) % 2
        base = np.array([[200, 40, 40], [40, 40, 200]])[self.targets][:, :, None, None]
        self._pixels = np.clip(base + rng.integers(-40, 40, (count, 3, 16, 16)), 0, 255).astype(np.uint8)

    def pixels(self, number):
        return self._pixels[number]


class Both(Colours):
    """The same, as the questions whether an image is red and whether it is blue. Some are left open."""

    def __init__(self, count, seed):
        super().__init__(count, seed)
        self.targets = np.stack([1 - self.targets, self.targets], axis=1).astype(np.int8)
        self.targets[::5, 1] = -1


class Network(nn.Module):
    """A body and a classifier `fc`; `room` images fit into its memory."""

    def __init__(self, room=1_000):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        self.fc = nn.Linear(8, 2)
        self.room = room

    def forward(self, images):
        if len(images) > self.room:
            raise torch.OutOfMemoryError(f"CUDA out of memory: {len(images)} images")
        return self.fc(self.body(images).flatten(1))


def plan(**more):
    given = {
        "objective": OneClass(),
        "epochs": 5,
        "batch_size": 8,
        "learning_rate": 0.01,
        "patience": 10,
        "flip": True,
        "seed": 0,
        "frozen": 1,
        "statistics": "followed",
        "classifier": "fc",
        "mean": [0.5] * 3,
        "std": [0.25] * 3,
        **more,
    }
    return Plan(**given)


def train(tmp_path, network, plan, on_step=lambda _: None):
    return fine_tune(
        network, Colours(32, 0), Colours(16, 1), plan, checkpoint=tmp_path / "run", device=CPU, on_step=on_step
    )


def test_it_learns_and_keeps_the_best_weights(tmp_path):
    network, steps = Network(), []
    run = train(tmp_path, network, plan(), steps.append)
    assert run.epoch == 5
    assert run.best_score == 1.0
    assert run.images == 5 * 32
    assert (steps[-1].done, steps[-1].total) == (20, 20)
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(tensor, run.best[name])


def test_each_question_is_learned_from_the_images_that_answer_it(tmp_path):
    network, shown = Network(), []
    with torch.no_grad():
        network.fc.weight.zero_()
    run = fine_tune(
        network,
        Both(32, 0),
        Both(16, 1),
        plan(objective=SeveralClasses(), epochs=2),
        checkpoint=tmp_path / "run",
        device=CPU,
        on_step=shown.append,
    )
    assert run.best_score == 1.0
    assert shown[-1].metrics["mean_average_precision"] == 1.0
    judged = Both(16, 2)
    said = torch.sigmoid(logits_of(network, judged, plan(), 8, CPU)).numpy() > 0.5
    known = judged.targets >= 0
    assert (said == (judged.targets == 1))[known].mean() > 0.9


def test_unknown_answers_have_no_loss():
    logits = torch.tensor([[3.0, -2.0], [0.5, 9.0]])
    some, all_known = torch.tensor([[1, -1], [0, -1]]), torch.tensor([[1], [0]])
    objective = SeveralClasses()
    torch.testing.assert_close(objective.loss(logits, some), objective.loss(logits[:, :1], all_known))
    assert objective.score(logits, some.numpy())[0] == 1.0
    assert objective.score(logits, np.full((2, 2), -1))[0] == 0.0


def test_the_rate_is_found_where_none_is_given(tmp_path):
    class Steep(Network):
        """It says the same, but each step changes that a thousand times as much."""

        def __init__(self):
            super().__init__()
            with torch.no_grad():
                self.fc.weight /= 1_000

        def forward(self, images):
            return 1_000 * super().forward(images)

    asked = plan(learning_rate=None, epochs=1, frozen=0)
    found = train(tmp_path, Network(), asked).learning_rate
    steep = train(tmp_path / "steep", Steep(), asked).learning_rate
    assert RATES[0] < steep < found / 2
    assert found <= RATES[1]


@pytest.mark.parametrize("statistics", ["kept", "followed", "renewed"])
def test_batch_normalisation_keeps_the_statistics_of_published_weights(tmp_path, statistics):
    network = Network()
    before = network.body[1].running_mean.clone()
    asked = plan(epochs=3, patience=1, statistics=statistics)
    run = fine_tune(network, Colours(32, 0), None, asked, checkpoint=tmp_path / "run", device=CPU)
    assert (run.epoch, run.best_epoch) == (3, 3)  # without validation, nothing ends it early
    assert torch.equal(network.body[1].running_mean, before) == (statistics == "kept")
    assert network.body[1].weight.std() > 0  # the layer itself learns in each case


def test_one_epoch_is_one_and_all_layers_learn_in_it(tmp_path):
    network = Network()
    before = network.body[0].weight.clone()
    run = train(tmp_path, network, plan(epochs=1))
    assert (run.epoch, run.images) == (1, 32)
    assert (network.body[0].weight - before).abs().max() > 0


def test_only_the_classifier_moves_at_first(tmp_path):
    network = Network()
    before = network.body[0].weight.clone()
    fine_tune(network, Colours(32, 0), None, plan(epochs=2), checkpoint=tmp_path / "run", device=CPU)
    moved = (network.body[0].weight - before).abs().max()

    class EndError(Exception):
        pass

    def end(step):
        if step.epoch == 2:
            raise EndError("ended")

    other = Network()
    head = other.fc.weight.clone()
    with pytest.raises(EndError):
        train(tmp_path / "other", other, plan(epochs=2), end)
    # It was ended after one step of the second epoch, whose rate begins low. That is compared with a whole epoch.
    assert (other.body[0].weight - before).abs().max() < moved / 2
    assert (other.fc.weight - head).abs().max() > 0


def test_it_begins_with_a_classifier_that_fits(tmp_path):
    assert train(tmp_path, Network(), plan(epochs=1, learning_rate=1e-12)).best_score == 1.0


def test_the_last_of_statistically_equal_epochs_is_kept(tmp_path):
    run = train(tmp_path, Network(), plan(learning_rate=1e-12, statistics="kept"))
    assert (run.best_epoch, run.epoch, run.best_score) == (5, 5, 1.0)


def test_it_ends_when_nothing_improves(tmp_path):
    run = train(tmp_path, Network(), plan(epochs=60, patience=3, learning_rate=1e-12))
    assert run.epoch < 20
    assert "no improvement for 3 epochs" in run.notes[-1]


def test_when_memory_runs_out_the_batch_is_halved_and_a_note_says_so(tmp_path):
    run = train(tmp_path, Network(room=3), plan(batch_size=16, epochs=1))
    assert run.batch_size == 2
    assert [note for note in run.notes if "Memory ran out" in note][-1].endswith("2 images.")
    with pytest.raises(torch.OutOfMemoryError):
        train(tmp_path / "none", Network(room=1), plan(epochs=1))


def test_another_error_is_no_lack_of_memory(tmp_path):
    class Broken(Network):
        def forward(self, images):
            raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        train(tmp_path, Broken(), plan())


def test_an_interrupted_training_continues_at_the_next_epoch(tmp_path):
    class KilledError(Exception):
        pass

    def kill(step):
        if step.epoch == 4:
            raise KilledError("killed")

    with pytest.raises(KilledError):
        train(tmp_path, Network(), plan(), kill)
    steps = []
    run = train(tmp_path, Network(), plan(), steps.append)
    assert [steps[0].epoch, run.epoch] == [4, 5]
    assert run.images == 5 * 32  # no image of an epoch was learned twice
    again = train(tmp_path, Network(), plan(), steps.append)  # there is nothing left to do
    assert again.images == run.images


def test_a_training_that_ended_early_does_not_go_on_after_a_kill(tmp_path):
    """It was killed while its result was measured."""
    asked = plan(epochs=9, patience=2, learning_rate=1e-12)
    run = train(tmp_path, Network(), asked)
    assert run.epoch < 9
    again = train(tmp_path, Network(), asked)
    assert (again.epoch, again.images, again.notes) == (run.epoch, run.images, run.notes)
    assert len(again.notes) == 1


def test_a_checkpoint_that_cannot_be_read_is_a_sentence(tmp_path):
    (tmp_path / "run").write_bytes(b"nonsense")
    with pytest.raises(ValueError, match="delete it to start over"):
        train(tmp_path, Network(), plan())


def test_weights_that_were_shrunk_get_the_statistics_of_the_images_before_the_classifier_is_fitted(tmp_path):
    def begun(statistics):
        network = Network()
        with torch.no_grad():
            network.body[0].weight.mul_(0.01)
            network.body[1].running_mean.fill_(5.0)  # the statistics from before the weights were shrunk
        asked = plan(epochs=1, learning_rate=1e-12, statistics=statistics)
        run = train(tmp_path / statistics, network, asked)
        return network.body[1], run.peak

    (renewed, (accuracy, negative_loss)), (_, (_, stale)) = begun("renewed"), begun("kept")
    assert renewed.running_mean.abs().max() < 1.0
    assert renewed.momentum == 0.1
    assert (accuracy, negative_loss > stale) == (1.0, True)
