"""The background of a picture: a landscape drawn from a seed (sky, sun, ranges of hills), cheap at any size.

The landscape is drawn small, where shapes cost little, and then enlarged smoothly. ``picture.py`` writes the text on
it at full size.
"""

from __future__ import annotations

import colorsys
import math
import random
from typing import Final

from PIL import Image, ImageDraw

_LONG_SIDE: Final = 640
_BANDS: Final = 64


def draw_background(seed: str, width: int, height: int) -> Image.Image:
    """An RGB picture of exactly ``width`` × ``height`` pixels; the same seed gives the same picture."""
    rng = random.Random(seed)  # noqa: S311  # decoration
    scale = min(1.0, _LONG_SIDE / max(width, height))
    small = max(8, round(width * scale)), max(8, round(height * scale))
    hue = rng.random()
    drawn = small[0] * 2, small[1] * 2  # twice as large, because reducing it smooths the edges
    picture = _sky(rng, hue).resize(drawn, Image.Resampling.BILINEAR)
    draw = ImageDraw.Draw(picture)
    _sun(draw, rng, hue, drawn)
    for layer in range(4):
        _hills(draw, rng, hue, drawn, layer)
    return picture.reduce(2).resize((width, height), Image.Resampling.BILINEAR)


def _sky(rng: random.Random, hue: float) -> Image.Image:
    top = _rgb(hue, 0.65, 0.35 + 0.25 * rng.random())
    bottom = _rgb(hue + 0.12 + 0.2 * rng.random(), 0.45, 0.95)
    band = Image.new("RGB", (1, _BANDS))
    for y in range(_BANDS):
        share = (y / (_BANDS - 1)) ** 0.8
        band.putpixel((0, y), _mixed(top, bottom, share))
    return band


def _sun(draw: ImageDraw.ImageDraw, rng: random.Random, hue: float, size: tuple[int, int]) -> None:
    width, height = size
    radius = min(width, height) * rng.uniform(0.09, 0.16)
    x, y = width * rng.uniform(0.2, 0.8), height * rng.uniform(0.2, 0.5)
    sky = _rgb(hue + 0.15, 0.4, 0.85)
    for ring in range(5, 0, -1):
        reach = radius * (1 + 0.16 * (ring - 1))
        colour = _mixed(_rgb(0.12, 0.25, 1.0), sky, 0.17 * (ring - 1))
        draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill=colour)


def _hills(draw: ImageDraw.ImageDraw, rng: random.Random, hue: float, size: tuple[int, int], layer: int) -> None:
    width, height = size
    base = height * (0.56 + 0.12 * layer)
    waves = [
        (height * rng.uniform(0.015, 0.06), rng.uniform(0.6, 2.2) * (power + 1), rng.uniform(0, math.tau))
        for power in range(3)
    ]
    colour = _rgb(hue + 0.03 * layer, 0.35 + 0.1 * layer, 0.62 - 0.14 * layer)
    step = max(2, width // 160)
    ridge = [
        (x, base + sum(rise * math.sin(math.tau * turns * x / width + phase) for rise, turns, phase in waves))
        for x in range(0, width + step, step)
    ]
    draw.polygon([(0, height), *ridge, (width + step, height)], fill=colour)


def _rgb(hue: float, saturation: float, value: float) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, min(1.0, saturation), max(0.0, min(1.0, value)))
    return round(red * 255), round(green * 255), round(blue * 255)


def _mixed(one: tuple[int, int, int], other: tuple[int, int, int], share: float) -> tuple[int, int, int]:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue
