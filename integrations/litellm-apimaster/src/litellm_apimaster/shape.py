"""The aspect ratio and the resolution: two questions, each of which several parameters answer.

The aspect ratio is in ``aspect_ratio``, ``size`` or ``image_config``, the resolution in ``resolution``, in pixels, in
``quality`` or in ``image_config``. Of several answers in one place, the first of these counts. Pixels answer both.

``size="auto"`` is what clients of OpenAI's API send by default. For a model that can't choose the ratio, it is no
answer.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from typing import Any, Final

from apimaster.adapters import read_size
from apimaster.catalog import AUTO, ModelSpec
from apimaster.errors import BadRequestError

from .parameter_values import is_nothing

SIZE: Final = "size"
QUALITY: Final = "quality"
ASPECT_RATIO: Final = "aspect_ratio"
RESOLUTION: Final = "resolution"
IMAGE_CONFIG: Final = "image_config"
IMAGE_CONFIGS: Final = (IMAGE_CONFIG, "imageConfig")

_MEMBERS: Final = {
    "aspect_ratio": ASPECT_RATIO,
    "aspectRatio": ASPECT_RATIO,
    "image_size": RESOLUTION,
    "imageSize": RESOLUTION,
    "resolution": RESOLUTION,
}
_SMALLEST: Final = "0.5K"
_RESOLUTION_OF_QUALITY: Final = {
    "low": _SMALLEST,
    "medium": None,
    "standard": None,
    "auto": None,
    "high": "2K",
    "hd": "2K",
}
_CONFIG_ADVICE: Final = "It may hold aspect_ratio and image_size (0.5K, 1K, 2K, 4K)."


def shape_of(given: Mapping[str, Any], spec: ModelSpec) -> dict[str, str | None]:
    """The aspect ratio and the resolution, each if ``given`` says anything about it.

    What the model does not accept is returned as it is given: ``ImageRequest`` names it together with all other faults.

    Args:
        given: parameters by name, ``image_config`` as ``read_image_config`` makes it.
        spec: the model's.

    Raises:
        BadRequestError: there is no such quality.
    """
    found: dict[str, str | None] = {}
    refused: dict[str, str | None] = {}
    resolution = given.get(RESOLUTION)
    if resolution is not None:
        try:
            found[RESOLUTION] = read_size(spec, None, str(resolution))[1]
        except ValueError:
            refused[RESOLUTION], resolution = str(resolution), None
    for name in (ASPECT_RATIO, SIZE):
        if given.get(name) is None or (name == SIZE and _is_no_wish(given[SIZE], spec)):
            continue
        try:
            ratio, of_pixels = read_size(spec, str(given[name]), None if resolution is None else str(resolution))
        except ValueError:
            refused.setdefault(ASPECT_RATIO, str(given[name]))
            continue
        found.setdefault(ASPECT_RATIO, ratio)
        if of_pixels is not None or _are_pixels(ratio):
            found.setdefault(RESOLUTION, of_pixels)
    if QUALITY in given and spec.strict_sizes:
        of_quality = _resolution_of_quality(given[QUALITY], spec)
        if of_quality is not None:
            found.setdefault(RESOLUTION, of_quality)
    if IMAGE_CONFIG in given:
        found = shape_of(given[IMAGE_CONFIG], spec) | found
    return found | refused


def read_image_config(given: dict[str, Any]) -> None:
    """Bring ``image_config`` under one name, with ``aspect_ratio`` and ``resolution`` for members, or none of it.

    Raises:
        BadRequestError: it is no object, or holds something else.
    """
    found: dict[str, Any] = {}
    for name in IMAGE_CONFIGS:
        config = object_of(given.pop(name, None))
        if not config:
            continue
        if not isinstance(config, Mapping):
            raise BadRequestError(f"{name} must be an object, not {config!r}", advice=_CONFIG_ADVICE)
        unknown = sorted(str(each) for each in config if each not in _MEMBERS)
        if unknown:
            raise BadRequestError(f"{name} holds what is not known: {', '.join(unknown)}", advice=_CONFIG_ADVICE)
        for each, value in config.items():
            if not is_nothing(value):
                found.setdefault(_MEMBERS[each], value)
    if found:
        given[IMAGE_CONFIG] = found


def object_of(value: Any) -> Any:
    """The object that a text from a form stands for; any other value as it is."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            return json.loads(value)
    return value


def _is_no_wish(size: Any, spec: ModelSpec) -> bool:
    return not spec.auto and str(size).strip().lower() == AUTO


def _are_pixels(ratio: str | None) -> bool:
    """Whether another model takes the pixels as they are: then no resolution goes with them."""
    return ratio is not None and "x" in ratio


def _resolution_of_quality(quality: Any, spec: ModelSpec) -> str | None:
    """The resolution that a quality stands for, ``low`` being the model's smallest; None: no change."""
    try:
        found = _RESOLUTION_OF_QUALITY[str(quality).strip().lower()]
        return spec.resolutions[0] if found == _SMALLEST else found
    except KeyError:
        accepted = ", ".join(_RESOLUTION_OF_QUALITY)
        raise BadRequestError(f"quality {quality!r} is not accepted; accepted: {accepted}") from None
