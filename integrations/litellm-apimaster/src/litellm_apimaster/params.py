"""From LiteLLM's parameters to an ``ImageRequest``: a table of names, and what each means here.

=====================================  ==================================================================
parameter                              what becomes of it
=====================================  ==================================================================
size                                   a ratio, ``auto``, or pixels (nearest ratio and tier)
aspect_ratio, resolution               as they are; ``resolution`` is stronger than pixels and quality
quality                                low 0.5K, high and hd 2K, others no change; passed on to other models
n                                      1 to 10, each a job of its own
response_format                        ``url`` or ``b64_json``
image_urls                             references, after those of ``image``
google_search, google_image_search     switches
client_reference_id, webhook           as they are
mask, style, background, …             UnsupportedParamsError, or dropped under ``drop_params``
anything else that is not LiteLLM's    goes to the gateway untouched, as other providers of LiteLLM do it
=====================================  ==================================================================

All of them may stand in the call, in its ``extra_body``, or in a deployment's ``litellm_params``. The call is stronger
than the deployment. ``user`` stays with LiteLLM, which counts spend by it; the endpoint has no such field.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import litellm
from litellm.exceptions import UnsupportedParamsError

from apimaster import ImageRequest
from apimaster.adapters import read_size
from apimaster.catalog import ModelSpec, spec_for
from apimaster.errors import BadRequestError

from . import pictures_in
from .call import is_foreign
from .deployment import EXTRA_BODY, Layer, layers

PROVIDER: Final = "apimaster"
MAX_N: Final = 10

SIZE: Final = "size"
QUALITY: Final = "quality"
ASPECT_RATIO: Final = "aspect_ratio"
RESOLUTION: Final = "resolution"
IMAGE_URLS: Final = "image_urls"
_N: Final = "n"
_RESPONSE_FORMAT: Final = "response_format"
_SWITCHES: Final = ("google_search", "google_image_search")
_AS_THEY_ARE: Final = ("client_reference_id", "webhook")
_SYNONYMS: Final = frozenset({SIZE, QUALITY, ASPECT_RATIO, RESOLUTION})
_KNOWN: Final = frozenset({*_SYNONYMS, IMAGE_URLS, _N, _RESPONSE_FORMAT, *_SWITCHES, *_AS_THEY_ARE})

# OpenAI's other image parameters. Some models behind the endpoint take the first group (C).
_PASSED_TO_OTHERS: Final = frozenset({"background", "moderation", "output_compression", "output_format"})
_UNSUPPORTED: Final = _PASSED_TO_OTHERS | {
    "extra_query",
    "imageConfig",
    "input_fidelity",
    "mask",
    "partial_images",
    "stream",
    "style",
    "tools",
    "web_search_options",
}
# The rest of LiteLLM's own signature: read elsewhere, or nothing to the endpoint.
_ELSEWHERE: Final = frozenset(
    {
        *("model", "prompt", "image", "messages", "user", "timeout", "client", "stream_options", "modalities"),
        *("api_key", "api_base", "api_version", "base_url", "headers", "extra_headers", EXTRA_BODY),
        *("custom_llm_provider", "async_call", "aimg_generation", "acompletion", "max_retries", "request_timeout"),
        *("deployment_id", "organization", "default_headers"),
        *("drop_params", "additional_drop_params", "allowed_openai_params"),
    }
)
_TIER_OF_QUALITY: Final = {"low": "0.5K", "medium": None, "standard": None, "auto": None, "high": "2K", "hd": "2K"}
_FORMATS: Final = ("url", "b64_json")
_TRUTH: Final = {"true": True, "1": True, "false": False, "0": False}
LISTS: Final = frozenset({IMAGE_URLS})


@dataclass(frozen=True, slots=True)
class Order:
    """What is wanted: a checked request, and whether the pictures come back inside the answer."""

    request: ImageRequest
    inline: bool


def read(
    arguments: Mapping[str, Any], *, model: str, prompt: str, images: list[Any], unsupported_here: frozenset[str]
) -> Order:
    """The order that a call's arguments stand for.

    Args:
        arguments: all that was said, LiteLLM's internals included.
        model: the model id, without ``apimaster/``.
        prompt: what to draw.
        images: references that came by another way than ``image_urls``.
        unsupported_here: further names that mean nothing at this door.

    Raises:
        UnsupportedParamsError: a parameter can't be honoured and ``drop_params`` is off.
        BadRequestError: a value is not accepted (the core's own, to be translated).
    """
    spec = spec_for(model)
    unsupported = _UNSUPPORTED | unsupported_here
    if not spec.strict_sizes:
        unsupported -= _PASSED_TO_OTHERS
    fields: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for layer in layers(arguments, _SYNONYMS):
        wanted = layer.merged
        for name in arguments.get("additional_drop_params") or ():
            wanted.pop(name, None)
        _refuse(wanted, unsupported, arguments, model)
        fields |= _meaning(wanted, spec, weaker=fields)
        named = _KNOWN | unsupported
        extra |= {name: value for name, value in _untouched(layer).items() if name in wanted and name not in named}
        if QUALITY in wanted and not spec.strict_sizes:
            extra[QUALITY] = wanted[QUALITY]
    references = [*images, *pictures_in.urls(fields.pop(IMAGE_URLS, None))]
    inline = fields.pop(_RESPONSE_FORMAT, _FORMATS[0]) == _FORMATS[1]
    request = ImageRequest(prompt=prompt, model=model, references=references, extra_body=extra, **fields)
    return Order(request, inline)


def drops_unsupported(arguments: Mapping[str, Any]) -> bool:
    """Whether LiteLLM was told to drop what a provider can't do."""
    return litellm.drop_params is True or arguments.get("drop_params") is True


def _untouched(layer: Layer) -> dict[str, Any]:
    """What goes to the gateway if it has no meaning here: all of ``extra_body``, and arguments that nobody claims."""
    unclaimed = {name: value for name, value in layer.arguments.items() if name not in _ELSEWHERE and is_foreign(name)}
    return {**unclaimed, **layer.body}


def _refuse(wanted: Mapping[str, Any], unsupported: frozenset[str], arguments: Mapping[str, Any], model: str) -> None:
    # False, 0 and an empty list ask for nothing.
    asked = sorted(name for name in unsupported & wanted.keys() if wanted[name])
    if asked and not drops_unsupported(arguments):
        raise UnsupportedParamsError(
            message=(
                f"{PROVIDER}/{model} does not support: {', '.join(asked)}. Supported: {', '.join(sorted(_KNOWN))}. "
                "To drop what is not supported, set litellm.drop_params=True."
            ),
            llm_provider=PROVIDER,
            model=model,
        )


def _meaning(wanted: Mapping[str, Any], spec: ModelSpec, *, weaker: Mapping[str, Any]) -> dict[str, Any]:
    """The request's fields that one layer sets; ``weaker`` is what the layers below it have set."""
    fields = {name: wanted[name] for name in (ASPECT_RATIO, RESOLUTION, IMAGE_URLS, *_AS_THEY_ARE) if name in wanted}
    fields |= {name: _switch(name, wanted[name]) for name in _SWITCHES if name in wanted}
    if _N in wanted:
        fields[_N] = _count(wanted[_N])
    if _RESPONSE_FORMAT in wanted:
        fields[_RESPONSE_FORMAT] = _format(wanted[_RESPONSE_FORMAT])
    if SIZE in wanted:
        ratio, tier = _size(wanted[SIZE], fields.get(RESOLUTION), spec)
        fields.setdefault(ASPECT_RATIO, ratio)
        if tier is not None:
            fields[RESOLUTION] = tier
    if QUALITY in wanted and spec.strict_sizes:
        tier = _tier(wanted[QUALITY])
        if tier is not None and RESOLUTION not in fields and RESOLUTION not in weaker:
            fields[RESOLUTION] = tier
    return fields


def _size(size: Any, resolution: Any, spec: ModelSpec) -> tuple[str | None, str | None]:
    """The ratio; and the tier, where pixels or ``resolution`` say it."""
    try:
        return read_size(spec, str(size), None if resolution is None else str(resolution))
    except ValueError as refusal:
        raise BadRequestError(f"size: {refusal}") from None


def _count(value: Any) -> int:
    # A multipart form knows only text.
    number = int(value) if isinstance(value, str) and value.strip().isdecimal() else value
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= MAX_N:
        raise BadRequestError(f"n must be a whole number from 1 to {MAX_N}, not {value!r}")
    return number


def _switch(name: str, value: Any) -> bool:
    found = value if isinstance(value, bool) else _TRUTH.get(str(value).strip().lower())
    if found is None:
        raise BadRequestError(f"{name} must be true or false, not {value!r}")
    return found


def _format(value: Any) -> str:
    if value not in _FORMATS:
        raise BadRequestError(f"response_format {value!r} is not accepted; accepted: {', '.join(_FORMATS)}")
    return str(value)


def _tier(quality: Any) -> str | None:
    try:
        return _TIER_OF_QUALITY[str(quality).lower()]
    except KeyError:
        accepted = ", ".join(_TIER_OF_QUALITY)
        raise BadRequestError(f"quality {quality!r} is not accepted; accepted: {accepted}") from None
