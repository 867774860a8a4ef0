"""The classifier that a fine-tuning begins with, over features that anybody can tell apart."""

import numpy as np
import pytest
import torch

from trainer.objectives.linear_probe import fit_classifier


class Net(torch.nn.Module):
    """The mean of each channel, and a classifier on it."""

    def __init__(self, classes, hidden=False):
        super().__init__()
        layers = [torch.nn.Linear(3, 4), torch.nn.Linear(4, classes)] if hidden else [torch.nn.Linear(3, classes)]
        self.head = torch.nn.Sequential(*layers)

    def forward(self, images):
        return self.head(images.mean(dim=(2, 3)))


def batches(targets, size=7):
    """Images whose channel `target` is a little brighter, far away from the origin."""
    rng = np.random.default_rng(0)
    images = 50 + rng.normal(0, 0.05, (len(targets), 3, 4, 4))
    images[np.arange(len(targets)), targets % 3] += 0.5
    return list(torch.from_numpy(images.astype(np.float32)).split(size))


@pytest.mark.parametrize("classes", [2, 3])
def test_it_tells_the_classes_apart_at_once(classes):
    targets = np.arange(60) % classes
    net = Net(classes)
    assert fit_classifier(net, "head", batches(targets), targets)
    said = torch.cat([net(batch) for batch in batches(targets)]).argmax(1)
    assert (said.numpy() == targets).mean() > 0.95


def test_a_class_without_labels_is_not_predicted():
    targets = np.arange(60) % 2 * 2  # three classes, of which the middle one has no labels
    net = Net(3)
    assert fit_classifier(net, "head", batches(targets), targets)
    said = torch.cat([net(batch) for batch in batches(targets)]).argmax(1)
    assert (said.numpy() == targets).mean() > 0.95


@pytest.mark.parametrize(("hidden", "classes"), [(True, 3), (False, 1)])
def test_what_it_cannot_fit_stays_as_it_is(hidden, classes):
    targets = np.arange(30) % classes
    net = Net(3, hidden=hidden)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    assert not fit_classifier(net, "head", batches(targets), targets)
    for name, tensor in net.state_dict().items():
        torch.testing.assert_close(tensor, before[name])
