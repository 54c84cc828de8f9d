"""What the values of LiteLLM's parameters mean, each by itself. Forms write all of them as texts."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from typing import Any, Final

from apimaster.adapters import read_size
from apimaster.catalog import ModelSpec
from apimaster.errors import BadRequestError

MAX_N: Final = 10

SIZE: Final = "size"
QUALITY: Final = "quality"
ASPECT_RATIO: Final = "aspect_ratio"
RESOLUTION: Final = "resolution"
ONLY_ON_REQUEST: Final = "only_image_requests"
"""A deployment's parameter: in a conversation, answer only requests whose ``modalities`` hold ``image``."""
URL: Final = "url"
BASE64: Final = "b64_json"

_IMAGE_CONFIG: Final = {
    "aspect_ratio": ASPECT_RATIO,
    "aspectRatio": ASPECT_RATIO,
    "image_size": RESOLUTION,
    "imageSize": RESOLUTION,
    "resolution": RESOLUTION,
}
IMAGE_CONFIGS: Final = ("image_config", "imageConfig")
_RESOLUTION_OF_QUALITY: Final = {
    "low": "0.5K",
    "medium": None,
    "standard": None,
    "auto": None,
    "high": "2K",
    "hd": "2K",
}
_CONFIG_ADVICE: Final = "It may hold aspect_ratio and image_size (0.5K, 1K, 2K, 4K)."
_RESPONSE_FORMATS: Final = (URL, BASE64)
_BOOLEAN_TEXTS: Final = {"true": True, "1": True, "false": False, "0": False}


def spread_image_config(given: dict[str, Any]) -> None:
    """Put the members of ``image_config`` in their places. What has another name already wins.

    Raises:
        BadRequestError: it is no object, or holds something else.
    """
    for name in IMAGE_CONFIGS:
        config = given.pop(name, None)
        if isinstance(config, str):  # from a form
            with contextlib.suppress(ValueError):
                config = json.loads(config)
        if not config:
            continue
        if not isinstance(config, Mapping):
            raise BadRequestError(f"{name} must be an object, not {config!r}", advice=_CONFIG_ADVICE)
        unknown = sorted(str(each) for each in config if each not in _IMAGE_CONFIG)
        if unknown:
            raise BadRequestError(f"{name} holds what is not known: {', '.join(unknown)}", advice=_CONFIG_ADVICE)
        for each, value in config.items():
            if value is not None and not is_blank(value):
                given.setdefault(_IMAGE_CONFIG[each], value)


def is_blank(value: Any) -> bool:
    """An empty field of a form asks for nothing."""
    return isinstance(value, str) and not value.strip()


def size_and_resolution(size: Any, resolution: Any, spec: ModelSpec) -> tuple[str | None, str | None]:
    """The aspect ratio; and the resolution, if pixels or ``resolution`` name one.

    Raises:
        BadRequestError: the model has no such size.
    """
    try:
        return read_size(spec, str(size), None if resolution is None else str(resolution))
    except ValueError as error:
        raise BadRequestError(f"size: {error}") from None


def count(value: Any) -> int:
    """``n``, from 1 to 10.

    Raises:
        BadRequestError: it is something else.
    """
    # The values of a multipart form are texts.
    number = int(value) if isinstance(value, str) and value.strip().isdecimal() else value
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= MAX_N:
        raise BadRequestError(f"n must be a whole number from 1 to {MAX_N}, not {value!r}")
    return number


def boolean(name: str, value: Any) -> bool:
    """True or false.

    Raises:
        BadRequestError: it is something else.
    """
    found = value if isinstance(value, bool) else _BOOLEAN_TEXTS.get(str(value).strip().lower())
    if found is None:
        raise BadRequestError(f"{name} must be true or false, not {value!r}")
    return found


def response_format(value: Any) -> str:
    """``url`` or ``b64_json``.

    Raises:
        BadRequestError: it is something else.
    """
    if value not in _RESPONSE_FORMATS:
        raise BadRequestError(f"response_format {value!r} is not accepted; accepted: {', '.join(_RESPONSE_FORMATS)}")
    return str(value)


def resolution_of_quality(quality: Any) -> str | None:
    """The resolution that a quality stands for; None: no change.

    Raises:
        BadRequestError: there is no such quality.
    """
    try:
        return _RESOLUTION_OF_QUALITY[str(quality).lower()]
    except KeyError:
        accepted = ", ".join(_RESOLUTION_OF_QUALITY)
        raise BadRequestError(f"quality {quality!r} is not accepted; accepted: {accepted}") from None
