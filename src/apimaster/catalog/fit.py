"""From a size in pixels to an aspect ratio and a resolution."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from .spec import DEFAULT_MODEL, ModelSpec, Resolution
from .table import spec_for


@dataclass(frozen=True, slots=True)
class Fit:
    """An aspect ratio and a resolution that together stand for a size in pixels."""

    aspect_ratio: str
    resolution: Resolution


def fit_pixels(width: int, height: int, spec: ModelSpec | None = None) -> Fit:
    """The nearest aspect ratio, and the smallest resolution that is not smaller on either side.

    A size of the table maps to itself. ``1920x1080`` becomes 16:9 at 2K: 1K would be 1376×768.

    Args:
        width: pixels, at least 1.
        height: pixels, at least 1.
        spec: the model, whose pixels the table must hold; None: the default model.

    Raises:
        ValueError: a side is below 1, or no resolution of the nearest ratio is large enough, or the model takes only
            sizes of its own ratios and this is none.
    """
    spec = spec or spec_for(DEFAULT_MODEL)
    if width < 1 or height < 1:
        raise ValueError(f"{width}x{height} is not a size: both sides must be at least 1 pixel")
    for ratio in spec.aspect_ratios:
        for resolution in spec.resolutions:
            if spec.pixels(ratio, resolution) == (width, height):
                return Fit(ratio, resolution)
    ratio = ratio_of_pixels(width, height, spec)
    if ratio not in spec.pixel_table:
        raise ValueError(f"the pixels that {spec.id} draws at {ratio} are not known; name a resolution, too")
    for resolution in spec.resolutions:
        wide, high = spec.pixels(ratio, resolution) or (0, 0)
        if wide >= width and high >= height:
            return Fit(ratio, resolution)
    largest = spec.resolutions[-1]
    wide, high = spec.pixels(ratio, largest) or (0, 0)
    raise ValueError(f"{width}x{height} is too large: the largest picture at {ratio} is {wide}x{high} ({largest})")


def ratio_of_pixels(width: int, height: int, spec: ModelSpec) -> str:
    """The aspect ratio that a size in pixels stands for.

    Raises:
        ValueError: the model takes only sizes of its own ratios, and this is none.
    """
    if spec.pixel_sizes == "nearest":
        drawn = [ratio for ratio in spec.aspect_ratios if ratio in spec.pixel_table]
        return nearest_ratio(width, height, drawn or spec.aspect_ratios)
    found = exact_ratio(width, height, spec.aspect_ratios)
    if found is None:
        raise ValueError(f"{width}x{height} is not of an aspect ratio that {spec.id} draws")
    return found


def exact_ratio(width: int, height: int, ratios: Iterable[str]) -> str | None:
    """The aspect ratio of the list that is exactly that of a size, or None."""
    return next((name for name in ratios if width * _sides(name)[1] == height * _sides(name)[0]), None)


def nearest_ratio(width: int, height: int, ratios: Iterable[str] | None = None) -> str:
    """The aspect ratio whose shape is nearest, measured in proportion (so 2:1 is as far from 1:1 as 1:2 is).

    ``ratios`` are those to choose from; None: those of the default model.
    """
    wanted = math.log(width / height)
    names = spec_for(DEFAULT_MODEL).aspect_ratios if ratios is None else ratios
    return min(names, key=lambda name: abs(wanted - _log_ratio(name)))


def _sides(name: str) -> tuple[int, int]:
    wide, high = name.split(":")
    return int(wide), int(high)


def _log_ratio(name: str) -> float:
    wide, high = _sides(name)
    return math.log(wide / high)
