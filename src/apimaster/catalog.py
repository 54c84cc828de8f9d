"""What each model accepts and costs: data, and a few pure functions of it.

Sizes and pixels are those of Google's documentation, limits and prices those of the vendor's page (docs/endpoint.md).
A model id that is not listed here is accepted, with the usual limits and without a price.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, get_args

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_MODEL: Final = "gemini-3.1-flash-image-preview"
DEFAULT_RESOLUTION: Final = "1K"
Resolution: TypeAlias = Literal["0.5K", "1K", "2K", "4K"]
RESOLUTIONS: Final[tuple[Resolution, ...]] = get_args(Resolution)
AspectRatio: TypeAlias = Literal[
    "auto", "1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9", "1:4", "4:1", "1:8", "8:1"
]
ASPECT_RATIOS: Final[tuple[AspectRatio, ...]] = get_args(AspectRatio)
AUTO: Final = "auto"
MAX_IMAGES: Final = 100
"""Images per call: more than that is a batch, with a ledger."""

MEBIBYTE: Final = 1024 * 1024
MAX_REFERENCE_BYTES: Final = 10 * MEBIBYTE
REFERENCE_MEDIA_TYPES: Final = ("image/jpeg", "image/png", "image/webp")

# Width × height at 0.5K, 1K, 2K and 4K, from Google's documentation.
_PIXELS: Final = {
    "1:1": ((512, 512), (1024, 1024), (2048, 2048), (4096, 4096)),
    "2:3": ((424, 632), (848, 1264), (1696, 2528), (3392, 5056)),
    "3:2": ((632, 424), (1264, 848), (2528, 1696), (5056, 3392)),
    "3:4": ((448, 600), (896, 1200), (1792, 2400), (3584, 4800)),
    "4:3": ((600, 448), (1200, 896), (2400, 1792), (4800, 3584)),
    "4:5": ((464, 576), (928, 1152), (1856, 2304), (3712, 4608)),
    "5:4": ((576, 464), (1152, 928), (2304, 1856), (4608, 3712)),
    "9:16": ((384, 688), (768, 1376), (1536, 2752), (3072, 5504)),
    "16:9": ((688, 384), (1376, 768), (2752, 1536), (5504, 3072)),
    "21:9": ((792, 168), (1584, 672), (3168, 1344), (6336, 2688)),  # Google's page does say 792×168
    "1:4": ((256, 1024), (512, 2048), (1024, 4096), (2048, 8192)),
    "4:1": ((1024, 256), (2048, 512), (4096, 1024), (8192, 2048)),
    "1:8": ((192, 1536), (384, 3072), (768, 6144), (1536, 12288)),
    "8:1": ((1536, 192), (3072, 384), (6144, 768), (12288, 1536)),
}
_BASE_PRICES: Final = MappingProxyType(
    {"0.5K": Decimal("0.0375"), "1K": Decimal("0.0375"), "2K": Decimal("0.05"), "4K": Decimal("0.075")}
)


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What one model accepts and costs.

    ``prices`` is US dollars per delivered image, by resolution; empty if no price is published.
    ``strict_sizes`` says whether the list of aspect ratios is complete: if not, other ratios and sizes in pixels are
    passed on, since some models take them.
    """

    id: str
    max_references: int = 14
    max_reference_bytes: int = MAX_REFERENCE_BYTES
    prices: Mapping[str, Decimal] = field(default_factory=dict)
    strict_sizes: bool = False
    lower_case_resolution: bool = True
    aliases: tuple[str, ...] = ()

    def price(self, resolution: str | None) -> Decimal | None:
        """US dollars for one image at ``resolution`` (None means the default, 1K), or None if unknown."""
        return self.prices.get(resolution or DEFAULT_RESOLUTION)

    def pixels(self, aspect_ratio: str | None, resolution: str | None) -> tuple[int, int] | None:
        """Width and height in pixels that this model draws, or None where the model chooses (``auto``)."""
        sizes = _PIXELS.get(aspect_ratio or AUTO) if self.strict_sizes else None
        if sizes is None:
            return None
        return sizes[RESOLUTIONS.index(resolution or DEFAULT_RESOLUTION)]

    def resolution_of(self, width: int | None, height: int | None) -> Resolution | None:
        """The resolution at which this model draws exactly these pixels, or None if it never does."""
        if self.strict_sizes:
            for sizes in _PIXELS.values():
                if (width, height) in sizes:
                    return RESOLUTIONS[sizes.index((width, height))]
        return None


# The gateway gives up on a one-shot call after so many seconds (docs/endpoint.md, "Time").
_ONE_SHOT_LIMIT: Final = {"0.5K": 180.0, "1K": 180.0, "2K": 300.0, "4K": 900.0}
_ONE_SHOT_MARGIN: Final = 30.0


SUBMIT_TIMEOUT: Final = 120.0
"""Seconds for a submit. The gateway answers at once, but the upload of ten megabytes of references takes time."""


def one_shot_limit(resolution: str | None) -> float:
    """Seconds after which a one-shot call has ended: a little longer than the gateway's own limit."""
    return _ONE_SHOT_LIMIT[resolution or DEFAULT_RESOLUTION] + _ONE_SHOT_MARGIN


_NANO_BANANA_2: Final = ModelSpec(
    id=DEFAULT_MODEL,
    prices=_BASE_PRICES,
    strict_sizes=True,
    lower_case_resolution=False,
    # the product's name
    aliases=("nano-banana-2",),
)
_MODELS: Final = {
    spec.id: spec
    for spec in (
        _NANO_BANANA_2,
        ModelSpec(
            id="gemini-3.1-flash-image",
            prices=_BASE_PRICES,
            strict_sizes=True,
            lower_case_resolution=False,
        ),
        ModelSpec(id="gpt-image-2", max_references=16),
        ModelSpec(id="doubao-seedream-5-0-pro-260628"),
        ModelSpec(id="midjourney-v8.2"),
        ModelSpec(id="midjourney-niji-7"),
    )
}
_BY_NAME: Final = {name: spec for spec in _MODELS.values() for name in (spec.id, *spec.aliases)}
KNOWN_MODELS: Final = tuple(_MODELS)


def spec_for(model: str) -> ModelSpec:
    """The spec of a model id or alias; an unknown id gets the base limits and no price."""
    return _BY_NAME.get(model) or ModelSpec(id=model)


@dataclass(frozen=True, slots=True)
class Fit:
    """An aspect ratio and a resolution that together stand for a size in pixels."""

    aspect_ratio: str
    resolution: Resolution


def fit_pixels(width: int, height: int) -> Fit:
    """The nearest aspect ratio, and the smallest resolution that is not smaller on either side.

    A size of the table maps to itself. ``1920x1080`` becomes 16:9 at 2K: 1K would be 1376×768.

    Args:
        width: pixels, at least 1.
        height: pixels, at least 1.

    Raises:
        ValueError: a side is below 1, or no resolution of the nearest ratio is large enough.
    """
    if width < 1 or height < 1:
        raise ValueError(f"{width}x{height} is not a size: both sides must be at least 1 pixel")
    for ratio, sizes in _PIXELS.items():
        if (width, height) in sizes:
            return Fit(ratio, RESOLUTIONS[sizes.index((width, height))])
    ratio = nearest_ratio(width, height)
    for resolution, (wide, high) in zip(RESOLUTIONS, _PIXELS[ratio], strict=True):
        if wide >= width and high >= height:
            return Fit(ratio, resolution)
    wide, high = _PIXELS[ratio][-1]
    raise ValueError(f"{width}x{height} is too large: the largest picture at {ratio} is {wide}x{high} (4K)")


def nearest_ratio(width: int, height: int) -> str:
    """The aspect ratio whose shape is nearest, measured in proportion (so 2:1 is as far from 1:1 as 1:2 is)."""
    wanted = math.log(width / height)
    return min(_PIXELS, key=lambda name: abs(wanted - _log_ratio(name)))


def _log_ratio(name: str) -> float:
    wide, high = name.split(":")
    return math.log(int(wide) / int(high))
