"""What the gateway checks before it accepts a request for an image, and the request as it understands it.

Each check refuses with the HTTP status and the code that the gateway uses. Fields that are unknown here pass, because
the gateway passes them on. Reference images inside the body are decoded and measured; of an http(s) reference the
emulator reads only the text, since it fetches nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from ..catalog import AUTO, DEFAULT_MODEL, RESOLUTIONS, ModelSpec, nearest_ratio, spec_for
from ..catalog.fit import exact_ratio
from .prices import Prices
from .records import ReceivedReference
from .reference_images import UnusableReference, read_reference

WEBHOOK_REFUSED: Final = "invalid_webhook_configuration"
"""The code of a refusal because of ``notifications``."""

_CHAT_MODELS: Final = frozenset({"gpt-5.5", "claude-sonnet-4-6"})
_PIXEL_SIZE: Final = re.compile(r"(\d{2,5})x(\d{2,5})")
_RATIO: Final = re.compile(r"(\d{1,3}):(\d{1,3})")
_RESOLUTION_BY_NAME: Final = {name.lower(): name for name in RESOLUTIONS}
_LOGGED: Final = ("size", "resolution", "quality")
# What a model that refuses unknown fields knows beside its own.
_FIELDS: Final = frozenset(
    {"model", "prompt", "size", "resolution", "n", "image_urls"}
    | {"response_format", "client_reference_id", "notifications"}
)
_MAX_SIDE: Final = 16_384


class Refusal(Exception):
    """The gateway refuses a request, with this HTTP status, message, type and code."""

    def __init__(
        self, status: int, message: str, kind: str = "invalid_request_error", code: str | None = "invalid_request"
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.code = code


@dataclass(frozen=True, slots=True)
class Notification:
    """The webhook that a request asks for: where to, and for which events; None stands for all of them."""

    endpoint_id: str
    events: tuple[str, ...] | None = None


@dataclass(slots=True)
class GenerationRequest:
    """A request for an image that the gateway accepts.

    Attributes:
        model: the id as it was sent.
        prompt: as it was sent.
        aspect_ratio: as it is drawn, or ``auto``.
        resolution: in its canonical spelling, with the default filled in.
        pixels: width and height of the picture.
        n: how many pictures the client asks for.
        price: US dollars per picture, or None.
        b64: whether the client asks for pictures inside the response.
        as_sent: ``size``, ``resolution`` and ``quality`` as they were sent, for the usage log; absent if they were not.
        notification: the webhook that the client asks for, or None.
        client_reference_id: the client's own reference, which the webhook repeats; None if there is none.
        references: the reference images, in order.
        reference_data: the bytes of those inside the body, for the thumbnails.
        mask: the picture that marks what to change in the first reference; None if there is none.
        mask_data: its bytes, if it is inside the body.
    """

    model: str
    prompt: str
    aspect_ratio: str
    resolution: str
    pixels: tuple[int, int]
    n: int
    price: Decimal | None
    b64: bool
    as_sent: Mapping[str, str] = field(default_factory=dict)
    notification: Notification | None = None
    client_reference_id: str | None = None
    references: tuple[ReceivedReference, ...] = ()
    reference_data: tuple[bytes, ...] = field(default=(), repr=False)
    mask: ReceivedReference | None = None
    mask_data: bytes | None = field(default=None, repr=False)


def parse_body(raw: bytes) -> Mapping[str, Any]:
    """The JSON object in a body.

    Raises:
        Refusal: 400, the body is not a JSON object.
    """
    try:
        document = json.loads(raw)
    except ValueError as error:
        raise Refusal(400, f"invalid request body: {error}") from None
    if not isinstance(document, dict):
        raise Refusal(400, "invalid request body: a JSON object is required")
    return document


def check_request(document: Mapping[str, Any], prices: Prices) -> GenerationRequest:
    """Check a request as the gateway does. ``prices`` has all models that it serves.

    Raises:
        Refusal: the gateway refuses the request; the message says why.
    """
    model = _text(document, "model", required=True)
    if model in _CHAT_MODELS:
        raise Refusal(400, f"model {model} is not served by the Images API")
    if model not in prices:
        raise Refusal(
            503, f"no available channel for model {model} under the current group", "new_api_error", "model_not_found"
        )
    prompt = _text(document, "prompt", required=True)
    if not prompt.strip():
        raise Refusal(400, "prompt is required")
    spec = spec_for(model)
    _check_fields(document, spec)
    resolution = _resolution(_text(document, "resolution"), spec)
    aspect_ratio = _size(spec, _text(document, "size") or AUTO)
    n = _count(document, spec)
    for name in ("google_search", "google_image_search"):
        if not isinstance(document.get(name, False), bool):
            raise Refusal(400, f"{name} must be a boolean")
    client_reference_id = _text(document, "client_reference_id")
    response_format = _text(document, "response_format")
    if response_format not in ("", "url", "b64_json"):
        raise Refusal(400, f"response_format must be url or b64_json, not {response_format!r}")
    notification = _notification(document.get("notifications"))
    references, data = _references(document.get("image_urls"), spec)
    mask, mask_data = _mask(document.get("mask_url"), spec, references)
    return GenerationRequest(
        model=model,
        prompt=prompt,
        aspect_ratio=aspect_ratio,
        resolution=resolution,
        pixels=pixels_for(spec, aspect_ratio, resolution, references),
        n=n,
        price=prices[model].get(resolution),
        b64=response_format == "b64_json",
        as_sent={name: document[name] for name in _LOGGED if isinstance(document.get(name), str) and document[name]},
        notification=notification,
        client_reference_id=client_reference_id or None,
        references=references,
        reference_data=data,
        mask=mask,
        mask_data=mask_data,
    )


def pixels_for(
    spec: ModelSpec, aspect_ratio: str, resolution: str, references: Sequence[ReceivedReference] = ()
) -> tuple[int, int]:
    """Width and height to draw. ``auto`` follows the first reference whose size is known, or else is square."""
    if aspect_ratio == AUTO:
        known = next(((each.width, each.height) for each in references if each.width and each.height), None)
        aspect_ratio = "1:1" if known is None else nearest_ratio(known[0] or 1, known[1] or 1)
    if found := _PIXEL_SIZE.fullmatch(aspect_ratio):
        return int(found[1]), int(found[2])
    pixels = spec.pixels(aspect_ratio, resolution) or spec_for(DEFAULT_MODEL).pixels(aspect_ratio, resolution)
    if pixels is not None:
        return pixels
    wide, high = (int(part) for part in aspect_ratio.split(":"))
    side = 512 * 2 ** RESOLUTIONS.index(resolution)
    return (round(side * (wide / high) ** 0.5), round(side * (high / wide) ** 0.5))


def abbreviated(value: Any, limit: int = 20_000) -> Any:
    """The same JSON with data URIs and very long texts cut short."""
    if isinstance(value, str):
        if value.startswith("data:") and len(value) > 120:
            return f"{value[:40]}… ({len(value)} characters)"
        return value if len(value) <= limit else f"{value[:limit]}… ({len(value)} characters)"
    if isinstance(value, Mapping):
        return {key: abbreviated(item, limit) for key, item in value.items()}
    if isinstance(value, list):
        return [abbreviated(item, limit) for item in value]
    return value


def _text(document: Mapping[str, Any], name: str, *, required: bool = False) -> str:
    value = document.get(name)
    if value is None and not required:
        return ""
    if not isinstance(value, str):
        raise Refusal(400, f"{name} is required" if value is None else f"{name} must be a string")
    if required and not value:
        raise Refusal(400, f"{name} is required")
    return value


def _check_fields(document: Mapping[str, Any], spec: ModelSpec) -> None:
    if spec.known and not spec.masks and document.get("mask_url") is not None:
        raise Refusal(400, f"mask_url is not supported by {spec.id}")
    if spec.strict_fields:
        unknown = [name for name in document if name not in _FIELDS and name not in spec.fields]
        if unknown:
            raise Refusal(400, f"unknown request fields: {', '.join(unknown)}")


def _resolution(value: str, spec: ModelSpec) -> str:
    # the vendor's own clients write it in lower case
    found = _RESOLUTION_BY_NAME.get(value.lower() or "1k")
    if found not in spec.resolutions:
        raise Refusal(400, f"resolution must be one of {', '.join(spec.resolutions)}, not {value!r}")
    return str(found)


def _size(spec: ModelSpec, value: str) -> str:
    """The aspect ratio to draw. A model that can't choose takes ``auto`` all the same, and draws its usual one."""
    if value == AUTO:
        return AUTO if spec.auto else spec.default_aspect_ratio
    if value in spec.sizes:
        return value
    pixels = _PIXEL_SIZE.fullmatch(value)
    ratio = _RATIO.fullmatch(value)
    if not spec.strict_sizes:
        if pixels and all(0 < int(side) <= _MAX_SIDE for side in pixels.groups()):
            return value
        if ratio and all(int(side) > 0 for side in ratio.groups()) and 1 / 16 <= int(ratio[1]) / int(ratio[2]) <= 16:
            return value
    if pixels and spec.pixel_sizes == "exact" and all(int(side) > 0 for side in pixels.groups()):
        found_ratio = exact_ratio(int(pixels[1]), int(pixels[2]), spec.aspect_ratios)
        if found_ratio is not None:
            return found_ratio
    raise Refusal(400, f"size must be one of {', '.join(spec.sizes)}, not {value!r}")


def _count(document: Mapping[str, Any], spec: ModelSpec) -> int:
    n = document.get("n", 1)
    most = spec.max_n
    if isinstance(n, bool) or not isinstance(n, int):
        raise Refusal(400, "n must be an integer")
    if not 1 <= n <= most:
        raise Refusal(400, f"n must be from 1 to {most}, not {n}")
    return n


def _notification(value: Any) -> Notification | None:
    if value is None:
        return None
    webhook = value.get("webhook") if isinstance(value, dict) else None
    if not isinstance(webhook, dict) or not isinstance(webhook.get("endpoint_id"), str):
        raise Refusal(400, "notifications.webhook.endpoint_id is required", code=WEBHOOK_REFUSED)
    events = webhook.get("events")
    if events is None:
        return Notification(webhook["endpoint_id"])
    if not (isinstance(events, list) and events and all(isinstance(event, str) for event in events)):
        raise Refusal(400, "notifications.webhook.events must be a list of event names", code=WEBHOOK_REFUSED)
    return Notification(webhook["endpoint_id"], tuple(events))


def _references(value: Any, spec: ModelSpec) -> tuple[tuple[ReceivedReference, ...], tuple[bytes, ...]]:
    if value is None:
        return (), ()
    if not isinstance(value, list):
        raise Refusal(400, "image_urls must be an array")
    if len(value) > spec.max_references:
        raise Refusal(400, f"image_urls holds {len(value)} images, at most {spec.max_references} are allowed")
    references: list[ReceivedReference] = []
    data: list[bytes] = []
    for index, item in enumerate(value):
        try:
            reference, content = read_reference(item, spec.max_reference_bytes)
        except UnusableReference as error:
            raise Refusal(400, f"image_urls[{index}]: {error}", code="invalid_image") from None
        references.append(reference)
        if content is not None:
            data.append(content)
    return tuple(references), tuple(data)


def _mask(
    value: Any, spec: ModelSpec, references: Sequence[ReceivedReference]
) -> tuple[ReceivedReference | None, bytes | None]:
    if value is None:
        return None, None
    if not references:
        raise Refusal(400, "mask_url requires an image in image_urls")
    try:
        mask, data = read_reference(value, spec.max_reference_bytes)
    except UnusableReference as error:
        raise Refusal(400, f"mask_url: {error}", code="invalid_image") from None
    check_mask_size(mask, references[0])
    return mask, data


def check_mask_size(mask: ReceivedReference, first: ReceivedReference) -> None:
    """Refuse a mask of another size than the first reference, as far as both are known.

    Raises:
        Refusal: 400, the sizes differ.
    """
    sizes = (mask.width, mask.height), (first.width, first.height)
    # A photo may be stored lying on its side, and its mask upright.
    if None not in (*sizes[0], *sizes[1]) and sorted(map(str, sizes[0])) != sorted(map(str, sizes[1])):
        shown = ["{}x{}".format(*size) for size in sizes]
        raise Refusal(400, f"mask_url is {shown[0]}, but the image is {shown[1]}", code="invalid_image")
