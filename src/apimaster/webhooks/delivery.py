"""Verify and parse a webhook delivery (docs/endpoint.md, "Webhooks").

Strategy: check the signature over the raw bytes before reading anything in the body, and trust only the parts that the
signature covers. It does not cover the event id in the *header*, so the id in the body counts.

The gateway repeats a delivery for up to 72 hours until it gets a 2xx, so the same event can arrive twice, even in two
processes at the same moment. Store the ``id`` of each event that you handle where all your processes see it, and answer
200 to one that you know::

    event = parse_webhook(body, headers, secret)
    if event.type == VERIFICATION:
        return 200, challenge_response(event)
    if seen.add(event.id) and event.task is not None:
        client.wait(event.task, save_to="out/")

Answer 400 to a ``WebhookVerificationError``, and never 410: that turns the endpoint off.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import APIMasterError, BadRequestError, sentence
from ..results import GeneratedImage, Task

VERIFICATION: Final = "webhook.endpoint_verification"
TASK_COMPLETED: Final = "task.completed"
TASK_FAILED: Final = "task.failed"
DEFAULT_TOLERANCE: Final = 300.0
"""Seconds by which the timestamp of a delivery may differ from this machine's clock, either way."""

_TIMESTAMP: Final = "x-apimaster-timestamp"
_SIGNATURE: Final = "x-apimaster-signature"
_DELIVERY: Final = "x-apimaster-delivery-id"
_MAX_BODY: Final = 1024 * 1024


class WebhookVerificationError(APIMasterError):
    """Nothing proves that the delivery comes from the gateway, or it is not an event. Don't act on it; answer 400."""

    advice = "Don't act on the delivery, and answer 400."

    def __str__(self) -> str:
        return f"{sentence(self.message)} {self.advice}"  # no word on the charge: a delivery costs nothing


class WebhookEvent(BaseModel):
    """One verified event.

    Attributes:
        id: ``evt_…``; the same for every delivery of the same event, so de-duplicate by it.
        type: ``"task.completed"``, ``"task.failed"``, ``"webhook.endpoint_verification"``, or a newer type.
        created_at: as the gateway wrote it.
        api_version: a date, for example ``"2026-10-03"``.
        data: the event's content, as the gateway wrote it.
        delivery_id: the id of this delivery, for a log; the signature does not cover it. None if there was none.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str = Field(min_length=1)
    type: str = Field(min_length=1)
    created_at: int | float | str | None = None
    api_version: str | None = None
    data: dict[str, Any] = Field(default_factory=dict)
    delivery_id: str | None = None

    @property
    def task(self) -> Task | None:
        """The task that has ended, ready for ``client.wait``; None for events of another kind."""
        task_id, model = self.data.get("task_id"), self.data.get("model")
        if self.type not in (TASK_COMPLETED, TASK_FAILED) or not isinstance(task_id, str) or not isinstance(model, str):
            return None
        if self.type == TASK_FAILED:
            return Task(id=task_id, model=model, status="failed", error=_reason(self.data.get("error")))
        images = tuple(_images(task_id, self.data))
        # An event may name no outputs although the task has some. With the status "running", `wait` polls for them.
        return Task(id=task_id, model=model, status="succeeded" if images else "running", images=images)

    @property
    def client_reference_id(self) -> str | None:
        """The reference that the caller gave to ``submit`` or ``generate``, if any."""
        value = self.data.get("client_reference_id")
        return value if isinstance(value, str) and value else None


def parse_webhook(
    body: bytes,
    headers: Mapping[str, str],
    secret: str | Mapping[str, str],
    *,
    tolerance: float = DEFAULT_TOLERANCE,
    now: float | None = None,
) -> WebhookEvent:
    """Check the signature and the age of a delivery, and return its event.

    Args:
        body: the raw body, byte for byte: JSON that was parsed and written again has another signature.
        headers: the delivery's headers, in upper or lower case.
        secret: the endpoint's secret; or several by key id, while you replace one.
        tolerance: seconds; ``math.inf`` accepts any age, for replaying stored deliveries.
        now: unix seconds, instead of this machine's clock.

    Raises:
        WebhookVerificationError: a header is missing, the signature or the timestamp does not fit, or the body is
            not an event.
        BadRequestError: ``secret`` is empty, or ``body`` is not bytes: both are mistakes in the receiver.
    """
    if not isinstance(body, bytes):
        raise BadRequestError(f"body must be the raw bytes of the delivery, not {type(body).__name__}")
    if len(body) > _MAX_BODY:
        raise WebhookVerificationError(f"The body has {len(body)} bytes; an event has at most {_MAX_BODY}.")
    found = {name.lower(): value for name, value in headers.items()}
    for name in (_TIMESTAMP, _SIGNATURE):
        if not found.get(name, "").strip():
            raise WebhookVerificationError(f"The header {name} is missing: this is not a delivery from the gateway.")
    timestamp = found[_TIMESTAMP].strip()
    signatures, key_id = _parts(found[_SIGNATURE])
    expected = [_digest(body, timestamp, key) for key in _keys(secret, key_id)]
    if not any(hmac.compare_digest(ours, theirs) for ours in expected for theirs in signatures):
        raise WebhookVerificationError(
            "The signature does not match the body: the secret is not this endpoint's, or something changed the body.",
            advice="Don't act on the delivery, and answer 400. Check the secret, and pass the raw bytes of the body.",
        )
    _check_age(timestamp, time.time() if now is None else now, tolerance)
    try:
        content = json.loads(body)
        if not isinstance(content, dict):
            raise WebhookVerificationError(f"The body is not an event but a JSON {type(content).__name__}.")
        return WebhookEvent.model_validate({**content, "delivery_id": found.get(_DELIVERY)})
    except ValidationError as invalid:
        fields = ", ".join(sorted({str(fault["loc"][0]) for fault in invalid.errors()}))
        raise WebhookVerificationError(f"The body is not an event; missing or wrong: {fields}.") from None
    except ValueError:
        raise WebhookVerificationError("The body is not JSON.") from None


def challenge_response(event: WebhookEvent) -> dict[str, str]:
    """The JSON object to send with a 200, so that the console accepts the endpoint.

    Raises:
        BadRequestError: ``event`` is not a ``webhook.endpoint_verification``.
    """
    challenge = event.data.get("challenge")
    if event.type != VERIFICATION or not isinstance(challenge, str):
        raise BadRequestError(f"an event of type {event.type!r} holds no challenge; only {VERIFICATION!r} does")
    return {"challenge": challenge}


def sign(body: bytes, secret: str, *, timestamp: int, key_id: str = "1") -> dict[str, str]:
    """The two headers that the gateway would send with ``body``: for tests of a receiver.

    Args:
        body: the raw body.
        secret: the endpoint's secret.
        timestamp: unix seconds.
        key_id: the id of that secret.
    """
    digest = _digest(body, str(timestamp), secret.encode())
    return {"X-APIMaster-Timestamp": str(timestamp), "X-APIMaster-Signature": f"v1={digest.decode()},kid={key_id}"}


def _digest(body: bytes, timestamp: str, key: bytes) -> bytes:
    return hmac.new(key, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest().encode()


def _parts(header: str) -> tuple[list[bytes], str | None]:
    """The signatures of a ``v1=…,kid=…`` header, lower case, and its key id."""
    pairs = [(name.strip().lower(), value.strip()) for name, _, value in (p.partition("=") for p in header.split(","))]
    # compare_digest takes any bytes, but only ASCII text: a forged header must not cause a TypeError.
    signatures = [value.lower().encode("utf-8", "replace") for name, value in pairs if name == "v1" and value]
    if not signatures:
        raise WebhookVerificationError("The signature header holds no v1=… part, the only kind that this client knows.")
    return signatures, next((value for name, value in pairs if name == "kid" and value), None)


def _keys(secret: str | Mapping[str, str], key_id: str | None) -> list[bytes]:
    secrets = {key_id or "": secret} if isinstance(secret, str) else dict(secret)
    # Anybody can sign with an empty secret, and a forgotten environment variable results in one.
    if not secrets or not all(value.strip() for value in secrets.values()):
        raise BadRequestError("the webhook secret is empty; the console shows it beside the endpoint")
    if key_id is not None and not isinstance(secret, str):
        if key_id not in secrets:
            known = ", ".join(sorted(secrets))
            raise WebhookVerificationError(f"The delivery is signed with the key {key_id!r}; known keys: {known}.")
        secrets = {key_id: secrets[key_id]}
    return [value.strip().encode() for value in secrets.values()]


def _check_age(timestamp: str, now: float, tolerance: float) -> None:
    try:
        age = now - int(timestamp)
    except ValueError:
        raise WebhookVerificationError("The timestamp header is not a number of seconds.") from None
    if abs(age) > tolerance:
        side = "old" if age > 0 else "ahead of this machine's clock"
        raise WebhookVerificationError(
            f"The delivery is {abs(age):.0f} s {side}; accepted: up to {tolerance:.0f} s. "
            "It may be a replay, or this machine's clock is wrong."
        )


def _images(task_id: str, data: dict[str, Any]) -> list[GeneratedImage]:
    result = data.get("result")
    outputs = result.get("outputs") if isinstance(result, dict) else None
    images: list[GeneratedImage] = []
    for place, output in enumerate(outputs if isinstance(outputs, list) else ()):
        url = output.get("url") if isinstance(output, dict) else None
        if not isinstance(url, str) or output.get("type") not in (None, "image"):
            continue
        name, expires = output.get("output_id"), output.get("expires_at")
        images.append(
            GeneratedImage(
                url=url,
                expires_at=expires if isinstance(expires, int) else None,
                task_id=task_id,
                index=len(images),
                output_index=int(name) if isinstance(name, str) and name.isdecimal() else place,
            )
        )
    return images


def _reason(error: object) -> str | None:
    if isinstance(error, dict):
        parts = [str(error[name]) for name in ("code", "message") if error.get(name)]
        return ": ".join(parts) or None
    return error if isinstance(error, str) and error else None
