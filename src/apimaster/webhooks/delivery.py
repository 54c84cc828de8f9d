"""Verify and parse a webhook delivery (docs/endpoint.md, "Webhooks").

Strategy: check the signature over the raw bytes before reading anything in the body, and trust only the parts that the
signature covers. It does not cover the event id in the *header*, so the id in the body counts.

The gateway repeats a delivery for up to 72 hours until it gets a 2xx, so the same event can arrive twice, even in two
processes at the same moment. Store the ``id`` of each event that you handle where all your processes see it, and answer
200 to one that you know::

    event = parse_webhook(body, headers, secret)
    if event.type == VERIFICATION:
        return 200, challenge_response(event)
    if is_new(event.id) and event.task is not None:  # your own store
        client.wait(event.task, save_to="out/")

Answer 400 to a ``WebhookVerificationError``, and never 410: that turns the endpoint off.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import BadRequestError
from ..results import GeneratedImage, Task
from .signature import WebhookSecrets, WebhookVerificationError, check_signature

VERIFICATION: Final = "webhook.endpoint_verification"
TASK_COMPLETED: Final = "task.completed"
TASK_FAILED: Final = "task.failed"
DEFAULT_TOLERANCE: Final = 300.0
"""Seconds by which the timestamp of a delivery may differ from this machine's clock, either way."""

_TIMESTAMP: Final = "x-apimaster-timestamp"
_SIGNATURE: Final = "x-apimaster-signature"
_DELIVERY: Final = "x-apimaster-delivery-id"
_MAX_BODY: Final = 1024 * 1024
_SECONDS: Final = re.compile(r"[0-9]{1,15}")


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
        """The task that has ended, ready for ``client.wait``; None for events of another kind.

        Its status is ``"running"`` where the event contradicts itself, or names no outputs of a success: then only a
        poll tells the end, and ``wait`` makes it. It makes one for a failure too.
        """
        task_id, model = self.data.get("task_id"), self.data.get("model")
        if self.type not in (TASK_COMPLETED, TASK_FAILED) or not isinstance(task_id, str) or not isinstance(model, str):
            return None
        result, error = self.data.get("result"), self.data.get("error")
        outputs = result.get("outputs") if isinstance(result, dict) else result
        failed = self.type == TASK_FAILED
        images = () if failed else tuple(_images(task_id, self.data))
        if not self._status_agrees() or bool(outputs if failed else error) or not (failed or images):
            return Task(id=task_id, model=model, status="running")
        if failed:
            return Task(id=task_id, model=model, status="failed", error=_reason(error), error_code=_code(error))
        return Task(id=task_id, model=model, status="succeeded", images=images)

    def _status_agrees(self) -> bool:
        """Whether the status inside the event, if there is one, says the same as its type."""
        status = self.data.get("status")
        expected = self.type.partition(".")[2]
        return status is None or (isinstance(status, str) and status.strip().lower() == expected)

    @property
    def client_reference_id(self) -> str | None:
        """The reference that the caller gave to ``submit`` or ``generate``, if any."""
        value = self.data.get("client_reference_id")
        return value if isinstance(value, str) and value else None


def parse_webhook(
    body: bytes,
    headers: Mapping[str, str],
    secret: WebhookSecrets,
    *,
    tolerance: float = DEFAULT_TOLERANCE,
    now: float | None = None,
) -> WebhookEvent:
    """Check the signature and the age of a delivery, and return its event.

    Args:
        body: the raw body, byte for byte: JSON that was parsed and written again has another signature.
        headers: the delivery's headers, in upper or lower case.
        secret: the endpoint's secret. Or several, since two are valid while one is replaced: a mapping of key ids to
            secrets, of which the one counts that the delivery names, or a sequence, of which any may have signed. Each
            is a text or a ``SecretStr``; ``read_secrets`` reads them from a file.
        tolerance: seconds; ``math.inf`` accepts any age, for replaying stored deliveries.
        now: unix seconds, instead of this machine's clock.

    Raises:
        WebhookVerificationError: a header is missing, the signature or the timestamp does not fit, or the body is
            not an event.
        BadRequestError: ``secret`` is empty or of another type, or ``body`` is not bytes: mistakes in the receiver.
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
    check_signature(body, timestamp, found[_SIGNATURE], secret)
    _check_age(timestamp, time.time() if now is None else now, tolerance)
    try:
        content = json.loads(body)
        if not isinstance(content, dict):
            raise WebhookVerificationError(f"The body is not an event but a JSON {type(content).__name__}.")
        return WebhookEvent.model_validate({**content, "delivery_id": found.get(_DELIVERY)})
    except ValidationError as invalid:
        fields = ", ".join(sorted({str(fault["loc"][0]) for fault in invalid.errors()}))
        raise WebhookVerificationError(f"The body is not an event; missing or wrong: {fields}.") from None
    except (ValueError, RecursionError):  # also nested too deeply
        raise WebhookVerificationError("The body is not JSON.") from None


def challenge_response(event: WebhookEvent) -> dict[str, str]:
    """The JSON object to send with a 200, so that the gateway takes the endpoint for verified.

    Raises:
        BadRequestError: ``event`` is not a ``webhook.endpoint_verification``.
    """
    challenge = event.data.get("challenge")
    if event.type != VERIFICATION or not isinstance(challenge, str):
        raise BadRequestError(f"an event of type {event.type!r} holds no challenge; only {VERIFICATION!r} does")
    return {"challenge": challenge}


def _check_age(timestamp: str, now: float, tolerance: float) -> None:
    if not _SECONDS.fullmatch(timestamp):
        raise WebhookVerificationError("The timestamp header is not a number of seconds.")
    age = now - int(timestamp)
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


def _code(error: object) -> str | None:
    code = error.get("code") if isinstance(error, dict) else None
    return str(code) if isinstance(code, (str, int)) and code else None


def _reason(error: object) -> str | None:
    if isinstance(error, dict):
        parts = [str(error[name]) for name in ("code", "message") if error.get(name)]
        return ": ".join(parts) or None
    return error if isinstance(error, str) and error else None
