"""The colours of the map stand out and stay apart, for everyone."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from labeler.ui.palette import BOTH, DARK, LIGHT, Palette

BACKGROUNDS = [(LIGHT, "#ffffff"), (DARK, "#171614")]
# Machado, Oliveira and Fernandes 2009, severity 1: how people see who lack one kind of cone; on linear RGB.
VISION = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
WHITE = TO_XYZ.sum(axis=1)


def linear(colour: str) -> NDArray[np.float64]:
    share = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    low, high = sorted(float(TO_XYZ[1] @ linear(each)) for each in (one, other))
    return (high + 0.05) / (low + 0.05)


def lab(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    xyz = TO_XYZ @ np.clip(rgb, 0, 1) / WHITE
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize(("palette", "background"), BACKGROUNDS)
def test_every_colour_stands_out(palette: Palette, background: str) -> None:
    for colour in [*palette["classes"], *palette["uncertainty"], palette["quiet"], *BOTH]:
        assert contrast(colour, background) >= 3, colour
    assert contrast(palette["ink"], background) >= 4.5


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize(("palette", "background"), BACKGROUNDS)
def test_classes_stay_apart_however_one_sees(palette: Palette, background: str, vision: str) -> None:
    for colours in (palette["classes"], BOTH):
        seen = {colour: lab(VISION[vision] @ linear(colour)) for colour in colours}
        for one, other in combinations(seen, 2):
            assert np.linalg.norm(seen[one] - seen[other]) > 25, (one, other)  # 2.3 is just noticeable
