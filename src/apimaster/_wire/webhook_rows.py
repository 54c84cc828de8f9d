"""One row of a reply about webhooks: an endpoint, an event, a delivery, from the gateway's field names.

A field that is missing, or of another type, is None. An id may be a number, and a time seconds, milliseconds or an ISO
text. Texts are cut to a length that a terminal and a log can bear.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, Final

from pydantic import ValidationError

from ..webhooks.delivery import WebhookEvent
from ..webhooks.endpoints import WebhookDelivery, WebhookEndpoint, WebhookEventSummary
from .messages import number_of

_LONGEST_TEXT: Final = 2048
_LARGEST_ROW: Final = 64 * 1024
_LARGEST_PAYLOAD: Final = 1024 * 1024
_MILLISECONDS: Final = 1e11  # no time in seconds is that large before the year 5138
_FRACTION: Final = re.compile(r"\.\d+")  # of a second; Python 3.10 reads three or six digits, and Go writes nine


def endpoint_of(row: Mapping[str, Any]) -> WebhookEndpoint | None:
    """An endpoint; None if the row has no id."""
    name = id_of(row.get("id", row.get("endpoint_id")))
    if name is None:
        return None
    return WebhookEndpoint(
        id=name,
        url=text_of(row.get("url")),
        verified=flag_of(row.get("verified")),
        enabled=flag_of(row.get("enabled")),
        key_id=id_of(row.get("key_id")),
        created_at=time_of(row.get("created_at")),
    )


def event_of(row: Mapping[str, Any]) -> WebhookEventSummary | None:
    """An event; None if the row has no id."""
    name = id_of(row.get("id", row.get("event_id")))
    if name is None:
        return None
    status = text_of(row.get("status"))
    return WebhookEventSummary(
        id=name,
        type=text_of(row.get("type", row.get("event_type"))),
        task_id=id_of(row.get("task_id")),
        endpoint_id=id_of(row.get("endpoint_id")),
        status=None if status is None else status.lower(),
        attempts=count_of(row.get("attempts", row.get("attempt_count"))),
        created_at=time_of(row.get("created_at")),
        next_attempt_at=time_of(row.get("next_attempt_at")),
    )


def delivery_of(row: Mapping[str, Any]) -> WebhookDelivery:
    """One attempt. ``status`` may be a word, or the HTTP status of the answer."""
    status = row.get("status")
    word = text_of(status) if isinstance(status, str) else None
    code = row.get("status_code", row.get("response_status", row.get("http_status")))
    return WebhookDelivery(
        id=id_of(row.get("id", row.get("delivery_id"))),
        attempt=count_of(row.get("attempt")),
        status=None if word is None else word.lower(),
        status_code=count_of(status if code is None and not isinstance(status, str) else code),
        error=text_of(row.get("error", row.get("last_error"))),
        created_at=time_of(row.get("created_at", row.get("attempted_at"))),
        details=dict(row) if _is_small(row) else {},
    )


def _is_small(row: Mapping[str, Any]) -> bool:
    try:
        return len(json.dumps(row)) <= _LARGEST_ROW
    except RecursionError:
        return False


def payload_of(value: object) -> WebhookEvent | None:
    """What is delivered, from an object or from its JSON text; None if it is no event."""
    if isinstance(value, str) and len(value) <= _LARGEST_PAYLOAD:
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    try:
        return WebhookEvent.model_validate(value) if isinstance(value, dict) else None
    except ValidationError:
        return None


def id_of(value: object) -> str | None:
    """An id. A number is one too, since it stands for its digits."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return None
    text = str(value).strip() if isinstance(value, str) or abs(value) < 2**63 else ""
    return text[:_LONGEST_TEXT] or None


def text_of(value: object) -> str | None:
    """A text, or the ``message`` of an object; None if there is none, or if it is empty."""
    if isinstance(value, dict):
        value = value.get("message")
    return value.strip()[:_LONGEST_TEXT] or None if isinstance(value, str) else None


def flag_of(value: object) -> bool | None:
    """A truth, as one, as a number, or as a word."""
    words = {"true": True, "1": True, "false": False, "0": False}
    if isinstance(value, (bool, int)) and value in (0, 1):
        return bool(value)
    return words.get(value.strip().lower()) if isinstance(value, str) else None


def count_of(value: object) -> int | None:
    """A number that counts something."""
    number = number_of(value)
    return int(number) if number is not None and number >= 0 else None


def time_of(value: object) -> float | None:
    """Unix seconds, from seconds, milliseconds or an ISO time."""
    number = number_of(value)
    if number is not None:
        return (number / 1000 if number > _MILLISECONDS else number) if number > 0 else None
    if not isinstance(value, str):
        return None
    try:
        found = datetime.fromisoformat(_FRACTION.sub("", value.strip().replace("Z", "+00:00")))
        return (found if found.tzinfo else found.replace(tzinfo=timezone.utc)).timestamp()
    except (ValueError, OverflowError, OSError):
        return None
