"""Pictures of coloured squares with their boxes, and a tiny frozen network with random weights, for quick tests."""

import hashlib
from io import BytesIO

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import nn

from shared.images.opening import ImageLimits
from trainer.detection.detector import Example
from trainer.detection.feature_maps import FeatureMaps
from trainer.detection.pyramid import Pyramid
from trainer.embeddings.backbones.torch_networks import TorchBackbone

RED, BLUE = 7, 3
COLOURS = {RED: (230, 30, 30), BLUE: (30, 30, 230)}
LIMITS = ImageLimits(10**8, 10**8)


class Tiny(nn.Module):
    """Random convolutions with maps at strides 8, 16 and 32."""

    def __init__(self):
        super().__init__()
        self.feature_info = [{"num_chs": 16, "reduction": stride} for stride in (8, 16, 32)]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.stages = nn.ModuleList(
                [
                    nn.Sequential(nn.Conv2d(3, 16, 8, stride=4, padding=2), nn.ReLU(), nn.AvgPool2d(2)),
                    nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2)),
                    nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2)),
                ]
            )
        for stage in self.stages:  # its first six channels are the colours and their opposites
            layer = next(each for each in stage.modules() if isinstance(each, nn.Conv2d))
            for i in range(6):
                weight = torch.zeros_like(layer.weight[i])
                weight[i % 3 if len(weight) == 3 else i] = (1 if i < 3 or len(weight) > 3 else -1) / weight[0].numel()
                layer.weight.data[i], layer.bias.data[i] = weight, 0

    def forward(self, images):
        return self.forward_intermediates(images, indices=[2], intermediates_only=True)[0].mean((2, 3))

    def forward_intermediates(self, images, *, indices, intermediates_only):
        found = []
        for stage in self.stages:
            images = stage(images)
            found.append(images)
        return [found[index] for index in indices]


def tiny_pyramid(size=64):
    half, quarter = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
    return Pyramid(TorchBackbone("tiny", Tiny(), input_size=size, mean=half, std=quarter, device=torch.device("cpu")))


class Album:
    """Image files by content hash."""

    def __init__(self):
        self.files = {}
        self.fetched = []

    def fetch(self, sha256):
        self.fetched.append(sha256)
        return self.files[sha256]

    def add(self, image, format="PNG", **options):
        stream = BytesIO()
        image.save(stream, format, **options)
        data = stream.getvalue()
        sha256 = hashlib.sha256(data).hexdigest()
        self.files[sha256] = data
        return sha256

    def squares(self, seed, *, classes=(RED,), most=2, size=(128, 96)):
        """A picture of up to `most` squares of each class, as an Example."""
        draws = np.random.default_rng(seed)
        image = Image.new("RGB", size, (128, 128, 128))
        pen, boxes, labels = ImageDraw.Draw(image), [], []
        for label in classes:
            for _ in range(int(draws.integers(1, most + 1) if most else 0)):
                for _ in range(20):
                    side = int(draws.integers(24, 40))
                    x, y = int(draws.integers(0, size[0] - side)), int(draws.integers(0, size[1] - side))
                    if all(abs(x - bx) >= 40 or abs(y - by) >= 40 for bx, by, _, _ in boxes):
                        break
                else:
                    continue
                pen.rectangle((x, y, x + side - 1, y + side - 1), fill=COLOURS[label])
                boxes.append((x, y, side, side))
                labels.append(label)
        noise = draws.integers(-9, 9, (size[1], size[0], 3))
        image = Image.fromarray((np.asarray(image) + noise).clip(0, 255).astype(np.uint8))
        return Example(self.add(image), np.array(boxes, np.float32).reshape(-1, 4), np.array(labels, np.int64))

    def maps(self, folder, **options):
        return FeatureMaps(folder, tiny_pyramid(), LIMITS, self.fetch, **options)


def overlap(a, b):
    """IoU of two boxes x, y, w, h."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)
