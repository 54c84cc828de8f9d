"""Read aspect ratios and resolutions in the spellings that people use.

An aspect ratio may come as ``16:9``, ``16x9``, ``16/9``, ``1920:1080`` or ``auto``; a size in pixels
(``1920x1080``) stands for the nearest ratio and the smallest resolution that covers it. A resolution may come
as ``2K``, ``2k``, ``2048`` or ``2048px``. Anything else is an error that names what is accepted.
"""

from __future__ import annotations

import math
import re
from typing import Final

from ..catalog import ASPECT_RATIOS, AUTO, RESOLUTIONS, ModelSpec, Resolution, fit_pixels, nearest_ratio

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
    spelled = None if resolution is None else read_resolution(resolution)
    if aspect_ratio is None:
        return None, spelled
    text = aspect_ratio.strip().lower()
    if text in ASPECT_RATIOS:
        return text, spelled
    pair = _PAIR.fullmatch(text)
    if pair is None:
        raise ValueError(_refusal(spec, aspect_ratio))
    width, height = int(pair[1]), int(pair[2])
    as_ratio = _reduced(width, height)
    is_pixels = ":" not in text and "/" not in text and min(width, height) >= _SMALLEST_PIXEL_SIDE
    if is_pixels and not spec.strict_sizes:
        return f"{width}x{height}", spelled  # some other models take pixels as they are
    if is_pixels and spelled is not None:
        return nearest_ratio(width, height), spelled
    if is_pixels:
        fit = fit_pixels(width, height)
        return fit.aspect_ratio, fit.resolution
    if as_ratio in ASPECT_RATIOS or (as_ratio is not None and not spec.strict_sizes):
        return as_ratio, spelled
    raise ValueError(_refusal(spec, aspect_ratio))


def _reduced(width: int, height: int) -> str | None:
    divisor = math.gcd(width, height)
    if not width or not height:
        return None
    wide, high = width // divisor, height // divisor
    # 21:9 is the usual name of the ratio 7:3
    return "21:9" if (wide, high) == (7, 3) else f"{wide}:{high}"


def _refusal(spec: ModelSpec, value: str) -> str:
    accepted = ", ".join(ASPECT_RATIOS)
    others = "" if spec.strict_sizes else ", or any W:H or WxH"
    return (
        f"aspect_ratio {value!r} is not accepted by {spec.id}; accepted: {accepted}{others}, "
        f"or a size in pixels such as 1920x1080 (mapped to the nearest; '{AUTO}' lets the model choose)"
    )
