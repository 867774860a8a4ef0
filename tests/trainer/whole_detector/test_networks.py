"""Detectors of torchvision answer in the same form as the others, and learn."""

import pytest
import torch

from trainer.detection.loss import Truth
from trainer.whole_detector.networks import built

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


@pytest.mark.parametrize("name", ["fcos_resnet50_fpn", "retinanet_resnet50_fpn"])
def test_a_detector_of_torchvision_says_what_torchvision_says(name):
    torch.manual_seed(0)
    network = built(name, 128, 2, MEAN, STD).eval()
    network.network.head.classification_head.cls_logits.bias.data.fill_(0.0)  # so that it finds something
    canvas = torch.randint(0, 256, (1, 3, 128, 128)).float()
    inside = network.network
    inside.transform.fixed_size = (128, 128)
    inside.score_thresh = 0.0
    with torch.inference_mode():
        scores, corners = network(canvas)
        (theirs,) = inside(list(canvas / 255))
    assert scores.shape[:2] == corners.shape[:2]
    assert scores.shape[2] == 2
    best = theirs["scores"].argmax()
    box, label, score = theirs["boxes"][best], int(theirs["labels"][best]), float(theirs["scores"][best])
    place = (corners[0].clamp(0, 128) - box).abs().amax(dim=1) + (scores[0, :, label] - score).abs()
    assert float(place.min()) < 0.05
    truth = Truth(torch.tensor([[10.0, 10.0, 60.0, 60.0]]), torch.tensor([1]))
    loss = network.loss(canvas, [truth], torch.ones(2))
    loss.backward()
    assert torch.isfinite(loss)
    grown = [name for name, each in network.named_parameters() if each.grad is not None]
    assert any(each.startswith(network.fresh) for each in grown)
    assert any(not each.startswith(network.fresh) for each in grown)
    before = {key: each.clone() for key, each in network.state_dict().items()}
    moved = {key: each + 1 for key, each in before.items()}
    for same in (False, True):
        network.take_over({**moved, "unknown": torch.ones(1)}, same_classes=same)
        kept = {key for key, each in network.state_dict().items() if torch.equal(each, before[key])}
        assert kept == (set() if same else {key for key in before if "cls_logits" in key})


def test_a_network_that_cannot_find_boxes_is_refused():
    for name, size, said in [
        ("fcos_resnet50_fpn", 200, "a multiple of 128 pixels, such as 128 or 256"),
        ("test_resnet", 100, "a multiple of 32 pixels, such as 96 or 128"),
        ("test_vit", 160, "no feature maps at strides 8, 16 and 32"),
    ]:
        with pytest.raises(ValueError, match=said):
            built(name, size, 2, MEAN, STD)
