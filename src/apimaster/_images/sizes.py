"""Read aspect ratios and resolutions in the spellings that people use.

An aspect ratio may come as ``16:9``, ``16x9``, ``16/9``, ``1920:1080`` or ``auto``; a size in pixels
(``1920x1080``) stands for the nearest ratio and the smallest resolution that covers it, if the model has fixed sizes. A
resolution may come as ``2K``, ``2k``, ``2048`` or ``2048px``. Anything else is an error that names what is accepted.
"""

from __future__ import annotations

import math
import re
from typing import Final

from ..catalog import AUTO, RESOLUTIONS, ModelSpec, Resolution
from ..catalog.fit import exact_ratio, fit_pixels, ratio_of_pixels

_PAIR: Final = re.compile(r"(\d{1,6})\s*(?:[:x×/*]|\s)\s*(\d{1,6})(?:\s*px)?", re.IGNORECASE)
_SMALLEST_PIXEL_SIDE: Final = 64  # no ratio is written with numbers this large, no picture has a smaller side
_RESOLUTION_NAMES: Final[dict[str, Resolution]] = {
    **{name.lower(): name for name in RESOLUTIONS},
    ".5k": "0.5K",
    "512": "0.5K",
    "1024": "1K",
    "2048": "2K",
    "4096": "4K",
}


def read_resolution(value: str) -> Resolution:
    """The canonical name, one of ``0.5K``, ``1K``, ``2K``, ``4K``.

    Raises:
        ValueError: it is none of them; the message names what is accepted.
    """
    name = value.strip().lower()
    found = _RESOLUTION_NAMES.get(name.removesuffix("px").strip())
    if found is None:
        raise ValueError(f"resolution {value!r} is not known; accepted: {', '.join(RESOLUTIONS)}")
    return found


def read_size(
    spec: ModelSpec, aspect_ratio: str | None, resolution: str | None
) -> tuple[str | None, Resolution | None]:
    """The aspect ratio and the resolution in the endpoint's own spelling; None stays None.

    If ``aspect_ratio`` is a size in pixels and ``resolution`` is given too, the resolution counts, and the pixels give
    only the ratio.

    Raises:
        ValueError: either is not accepted by this model; the message names what is.
    """
    ratio, tier, faults = read_both(spec, aspect_ratio, resolution)
    if faults:
        raise ValueError("; ".join(faults))
    return ratio, tier


def read_both(
    spec: ModelSpec, aspect_ratio: str | None, resolution: str | None
) -> tuple[str | None, Resolution | None, list[str]]:
    """The same with what is wrong with either, a sentence each; what is wrong is returned as None."""
    faults = []
    spelled: Resolution | None = None
    if resolution is not None:
        try:
            spelled = read_resolution(resolution)
        except ValueError as error:
            faults.append(str(error))
        else:
            if spelled not in spec.resolutions:
                accepted = ", ".join(spec.resolutions)
                faults.append(f"resolution {spelled!r} is not accepted by {spec.id}; accepted: {accepted}")
    if aspect_ratio is None:
        return None, spelled, faults
    try:
        return (*_read_ratio(spec, aspect_ratio, spelled), faults)
    except ValueError as error:
        return None, spelled, [str(error), *faults]


def _read_ratio(
    spec: ModelSpec, aspect_ratio: str, resolution: Resolution | None
) -> tuple[str | None, Resolution | None]:
    text = aspect_ratio.strip().lower()
    if text in spec.sizes:
        return text, resolution
    pair = _PAIR.fullmatch(text)
    if pair is None:
        raise ValueError(_refusal(spec, aspect_ratio))
    width, height = int(pair[1]), int(pair[2])
    is_pixels = ":" not in text and "/" not in text and min(width, height) >= _SMALLEST_PIXEL_SIDE
    if is_pixels and spec.pixel_sizes == "as is":
        return f"{width}x{height}", resolution
    if is_pixels:
        try:
            if resolution is not None:
                return ratio_of_pixels(width, height, spec), resolution
            fit = fit_pixels(width, height, spec)
        except ValueError as error:
            raise ValueError(f"aspect_ratio {aspect_ratio!r}: {error}; {_accepted(spec)}") from None
        return fit.aspect_ratio, fit.resolution
    if width and height:
        ratio = exact_ratio(width, height, spec.aspect_ratios)  # 21:9 is the usual name of the ratio 7:3
        if ratio is not None:
            return ratio, resolution
        if not spec.strict_sizes:
            divisor = math.gcd(width, height)
            return f"{width // divisor}:{height // divisor}", resolution
    raise ValueError(_refusal(spec, aspect_ratio))


def _refusal(spec: ModelSpec, value: str) -> str:
    return f"aspect_ratio {value!r} is not accepted by {spec.id}; {_accepted(spec)}"


def _accepted(spec: ModelSpec) -> str:
    accepted = ", ".join(spec.sizes)
    others = "" if spec.strict_sizes else ", or any W:H or WxH"
    if spec.pixel_sizes == "nearest":
        others += ", or a size in pixels such as 1920x1080 (mapped to the nearest)"
    elif spec.pixel_sizes == "exact":
        others += ", or a size in pixels of one of these ratios, such as 1920x1080"
    choose = f" ('{AUTO}' lets the model choose)" if spec.auto else ""
    return f"accepted: {accepted}{others}{choose}"
