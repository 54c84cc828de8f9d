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

from ..catalog import ASPECT_RATIOS, AUTO, DEFAULT_MODEL, RESOLUTIONS, ModelSpec, nearest_ratio, spec_for
from .records import ReceivedReference
from .reference_images import UnusableReference, read_reference

MAX_BODY: Final = 256 * 1024 * 1024
"""Bytes of one request: 16 references of 10 MB as base64 fit."""

WEBHOOK_REFUSED: Final = "invalid_webhook_configuration"
"""The code of a refusal because of ``notifications``."""

_CHAT_MODELS: Final = frozenset({"gpt-5.5", "claude-sonnet-4-6"})
_PIXEL_SIZE: Final = re.compile(r"(\d{2,5})x(\d{2,5})")
_RATIO: Final = re.compile(r"(\d{1,3}):(\d{1,3})")
_RESOLUTION_BY_NAME: Final = {name.lower(): name for name in RESOLUTIONS}
_LOGGED: Final = ("size", "resolution", "quality")
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
        aspect_ratio: as it was sent, or ``auto``.
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


def check_request(document: Mapping[str, Any], models: Sequence[str]) -> GenerationRequest:
    """Check a request as the gateway does.

    Raises:
        Refusal: the gateway refuses the request; the message says why.
    """
    model = _text(document, "model", required=True)
    if model in _CHAT_MODELS:
        raise Refusal(400, f"model {model} is not served by the Images API")
    if model not in models:
        raise Refusal(
            503, f"no available channel for model {model} under the current group", "new_api_error", "model_not_found"
        )
    prompt = _text(document, "prompt", required=True)
    if not prompt.strip():
        raise Refusal(400, "prompt is required")
    spec = spec_for(model)
    aspect_ratio = _text(document, "size") or AUTO
    resolution = _resolution(_text(document, "resolution"))
    _check_size(spec, aspect_ratio)
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
    return GenerationRequest(
        model=model,
        prompt=prompt,
        aspect_ratio=aspect_ratio,
        resolution=resolution,
        pixels=pixels_for(spec, aspect_ratio, resolution, references),
        n=n,
        price=spec.price(resolution),
        b64=response_format == "b64_json",
        as_sent={name: document[name] for name in _LOGGED if isinstance(document.get(name), str) and document[name]},
        notification=notification,
        client_reference_id=client_reference_id or None,
        references=references,
        reference_data=data,
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
    pixels = spec_for(DEFAULT_MODEL).pixels(aspect_ratio, resolution) if aspect_ratio in ASPECT_RATIOS else None
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


def _resolution(value: str) -> str:
    # the vendor's own clients write it in lower case
    found = _RESOLUTION_BY_NAME.get(value.lower() or "1k")
    if found is None:
        raise Refusal(400, f"resolution must be one of {', '.join(RESOLUTIONS)}, not {value!r}")
    return found


def _check_size(spec: ModelSpec, value: str) -> None:
    if value in ASPECT_RATIOS:
        return
    pixels = _PIXEL_SIZE.fullmatch(value)
    ratio = _RATIO.fullmatch(value)
    if not spec.strict_sizes:
        if pixels and all(0 < int(side) <= _MAX_SIDE for side in pixels.groups()):
            return
        if ratio and all(int(side) > 0 for side in ratio.groups()) and 1 / 16 <= int(ratio[1]) / int(ratio[2]) <= 16:
            return
    raise Refusal(400, f"size must be one of {', '.join(ASPECT_RATIOS)}, not {value!r}")


def _count(document: Mapping[str, Any], spec: ModelSpec) -> int:
    n = document.get("n", 1)
    most = 4 if spec.strict_sizes else 10
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
