"""The colours of the map stand out and stay apart, for everyone."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from labeler.ui.parts.palette import BOTH, DARK, FIRST, LIGHT, Palette

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


def ciede2000(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Sharma, Wu and Dalal 2005, of two colours in Lab."""
    (l1, a1, b1), (l2, a2, b2) = one, other
    mean = (np.hypot(a1, b1) + np.hypot(a2, b2)) / 2
    stretch = 1.5 - np.sqrt(mean**7 / (mean**7 + 25.0**7)) / 2
    a1, a2 = a1 * stretch, a2 * stretch
    c1, c2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1, h2 = (np.degrees(np.arctan2(b, a)) % 360 for a, b in ((a1, b1), (a2, b2)))
    turn = 0.0 if c1 * c2 == 0 else (h2 - h1 + 180) % 360 - 180
    lightness, chroma = (l1 + l2) / 2, (c1 + c2) / 2
    hue = h1 + h2 if c1 * c2 == 0 else (h1 + turn / 2) % 360
    wave = sum(
        share * np.cos(np.radians(times * hue - shift))
        for share, times, shift in ((-0.17, 1, 30), (0.24, 2, 0), (0.32, 3, -6), (-0.2, 4, 63))
    )
    sl = 1 + 0.015 * (lightness - 50) ** 2 / np.sqrt(20 + (lightness - 50) ** 2)
    sc, sh = 1 + 0.045 * chroma, 1 + 0.015 * chroma * (1 + wave)
    blue = 30 * np.exp(-(((hue - 275) / 25) ** 2))
    rotation = -np.sin(np.radians(2 * blue)) * 2 * np.sqrt(chroma**7 / (chroma**7 + 25.0**7))
    dl, dc = (l2 - l1) / sl, (c2 - c1) / sc
    dh = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn) / 2) / sh
    return float(np.sqrt(dl**2 + dc**2 + dh**2 + rotation * dc * dh))


def test_the_distance_is_that_of_the_standard() -> None:
    for one, other, expected in [  # of the test data that the authors published
        ((50.0, 2.6772, -79.7751), (50.0, 0.0, -82.7485), 2.0425),
        ((50.0, 2.5, 0.0), (73.0, 25.0, -18.0), 27.1492),
        ((22.7233, 20.0904, -46.694), (23.0331, 14.973, -42.5619), 2.0373),
        ((2.0776, 0.0795, -1.135), (0.9033, -0.0636, -0.5514), 0.9082),
    ]:
        assert ciede2000(np.array(one), np.array(other)) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(("palette", "background"), BACKGROUNDS)
def test_forty_classes_can_be_told_apart(palette: Palette, background: str) -> None:
    assert len(palette["classes"]) == 40
    seen = [lab(linear(colour)) for colour in [*palette["classes"], palette["quiet"]]]
    for one, other in combinations(range(41), 2):
        assert ciede2000(seen[one], seen[other]) > 10, (one, other)
    for place in range(39):  # which stand side by side in the legend
        assert ciede2000(seen[place], seen[place + 1]) > 17, place


@pytest.mark.parametrize(("palette", "background"), BACKGROUNDS)
def test_every_colour_stands_out(palette: Palette, background: str) -> None:
    for colour in [*palette["classes"], *palette["uncertainty"], palette["quiet"], *BOTH]:
        assert contrast(colour, background) >= 3, colour
    assert contrast(palette["ink"], background) >= 4.5


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize(("palette", "background"), BACKGROUNDS)
def test_classes_stay_apart_however_one_sees(palette: Palette, background: str, vision: str) -> None:
    for colours in (palette["classes"][:FIRST], BOTH):
        seen = {colour: lab(VISION[vision] @ linear(colour)) for colour in colours}
        for one, other in combinations(seen, 2):
            assert np.linalg.norm(seen[one] - seen[other]) > 25, (one, other)  # 2.3 is just noticeable
