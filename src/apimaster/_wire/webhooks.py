"""The routes of webhooks in the gateway's field names: endpoints, events, capabilities (docs/endpoint.md, "Webhooks").

The forms of some replies are not documented, such as that of ``PATCH``. So a reader takes an object that is under a
name, under ``data``, or at the top. ``webhook_rows`` reads the objects themselves.

Some of the replies hold a secret. So none is ever quoted: an error that says what could not be read shows nothing of
it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from pydantic import SecretStr

from .._flows.operations import Call, Reply
from ..webhooks.endpoints import (
    RotatedWebhookSecret,
    WebhookCapabilities,
    WebhookEndpoint,
    WebhookEventDetails,
    WebhookEventSummary,
)
from .json_reply import parsed
from .messages import Unreadable
from .webhook_rows import delivery_of, endpoint_of, event_of, flag_of, id_of, payload_of, text_of, time_of

ENDPOINTS_PATH: Final = "/webhook-endpoints"
EVENTS_PATH: Final = "/webhook-events"
CAPABILITIES_PATH: Final = "/webhook-capabilities"

_LONGEST_SECRET: Final = 4096
_MOST_ROWS: Final = 1000


# --- requests ---------------------------------------------------------------------------------------------


def create_call(url: str) -> Call:
    """The call that registers a URL."""
    return Call("POST", ENDPOINTS_PATH, body=_json({"url": url}))


def list_call() -> Call:
    """The call for all endpoints."""
    return Call("GET", ENDPOINTS_PATH)


def verify_call(endpoint_id: str) -> Call:
    """The call that sends a challenge now."""
    return Call("POST", f"{_path(ENDPOINTS_PATH, endpoint_id)}/verify")


def enable_call(endpoint_id: str, *, enabled: bool) -> Call:
    """The call that turns an endpoint on or off."""
    return Call("PATCH", _path(ENDPOINTS_PATH, endpoint_id), body=_json({"enabled": enabled}))


def rotate_call(endpoint_id: str) -> Call:
    """The call for a new secret."""
    return Call("POST", f"{_path(ENDPOINTS_PATH, endpoint_id)}/rotate-secret")


def events_call(*, task_id: str | None, status: str | None, limit: int, offset: int) -> Call:
    """The call for a part of the events."""
    asked = {"task_id": task_id, "status": status, "limit": str(limit), "offset": str(offset) if offset else None}
    return Call("GET", EVENTS_PATH, query={name: value for name, value in asked.items() if value is not None})


def event_call(event_id: str) -> Call:
    """The call for one event with its deliveries."""
    return Call("GET", _path(EVENTS_PATH, event_id))


def redeliver_call(event_id: str) -> Call:
    """The call that delivers an event once more."""
    return Call("POST", f"{_path(EVENTS_PATH, event_id)}/redeliver")


def capabilities_call(model: str) -> Call:
    """The call for what the gateway reports of a model's tasks."""
    return Call("GET", CAPABILITIES_PATH, query={"model": model})


def _path(base: str, name: str) -> str:
    return f"{base}/{quote(name, safe='')}"


def _json(document: Mapping[str, object]) -> bytes:
    return json.dumps(document).encode()


# --- replies ----------------------------------------------------------------------------------------------


def read_created(reply: Reply) -> tuple[WebhookEndpoint | None, SecretStr | None]:
    """The new endpoint and its secret; None for what the reply does not hold."""
    document = _object(reply)
    return endpoint_of(_inside(document, "endpoint")), _secret(document, "endpoint")


def read_rotated(reply: Reply, endpoint_id: str, *, until: float) -> RotatedWebhookSecret | None:
    """The new secret; None if the reply holds none. ``until``: the end of the old one, if the reply does not say."""
    document = _object(reply)
    secret = _secret(document, "endpoint")
    if secret is None:
        return None
    row = _inside(document, "endpoint") if "signing_secret" not in document else document
    end = time_of(_first(document, row, "previous_valid_until"))
    return RotatedWebhookSecret(
        endpoint_id=endpoint_id,
        key_id=id_of(_first(document, row, "key_id")),
        signing_secret=secret,
        previous_key_id=id_of(_first(document, row, "previous_key_id")),
        previous_valid_until=until if end is None else end,
    )


def read_endpoint(reply: Reply, endpoint_id: str) -> WebhookEndpoint | None:
    """The endpoint of that id; None if the reply does not hold it."""
    found = endpoint_of(_inside(_object(reply), "endpoint"))
    return found if found is not None and found.id == endpoint_id else None


def read_endpoints(reply: Reply) -> tuple[WebhookEndpoint, ...]:
    """All endpoints, in the gateway's order.

    Raises:
        Unreadable: the reply is not a list.
    """
    found = (endpoint_of(row) for row in _rows(reply, "endpoints"))
    return tuple(each for each in found if each is not None)


def read_events(reply: Reply) -> tuple[WebhookEventSummary, ...]:
    """A part of the events, in the gateway's order.

    Raises:
        Unreadable: the reply is not a list.
    """
    found = (event_of(row) for row in _rows(reply, "events"))
    return tuple(each for each in found if each is not None)


def read_event(reply: Reply, event_id: str) -> WebhookEventDetails:
    """One event, with what is delivered and every attempt.

    Raises:
        Unreadable: the reply is not an event.
    """
    document = _document(reply)
    inner = document.get("data")
    if isinstance(inner, dict) and "event" not in document:
        document = inner
    row = document.get("event")
    summary = event_of({"id": event_id, **(row if isinstance(row, dict) else document)})
    if summary is None or not ({"event", "payload", "deliveries"} & document.keys() or "type" in document):
        raise _unreadable("no event", reply)
    listed = document.get("deliveries")
    rows = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    return WebhookEventDetails(
        event=summary,
        payload=payload_of(document.get("payload")),
        deliveries=tuple(delivery_of(each) for each in rows[:_MOST_ROWS]),
    )


def read_capabilities(reply: Reply, model: str) -> WebhookCapabilities:
    """What the gateway reports of a model's tasks.

    Raises:
        Unreadable: the reply does not say whether it does.
    """
    document = _document(reply)
    if not isinstance(flag_of(document.get("supported")), bool) and isinstance(document.get("data"), dict):
        document = document["data"]
    supported = flag_of(document.get("supported"))
    if supported is None:
        raise _unreadable("no capabilities", reply)
    listed = document.get("events")
    events = [text_of(each) for each in listed[:_MOST_ROWS]] if isinstance(listed, list) else []
    return WebhookCapabilities(
        model=text_of(document.get("model")) or model,
        supported=supported,
        events=tuple(each for each in events if each),
        api_version=text_of(document.get("api_version")),
    )


# --- parts ------------------------------------------------------------------------------------------------


def _document(reply: Reply) -> dict[str, Any]:
    """The JSON object that is the body."""
    try:
        document = parsed(reply.body)
    except ValueError:
        raise _unreadable("no JSON", reply) from None
    if not isinstance(document, dict):
        raise _unreadable("no JSON object", reply)
    return document


def _unreadable(missing: str, reply: Reply) -> Unreadable:
    return Unreadable(f"{missing} in {len(reply.body)} bytes (HTTP {reply.status})")


def _object(reply: Reply) -> dict[str, Any]:
    """The object that is the body, or that is under ``data``; empty if there is none, since the change was made."""
    try:
        document = _document(reply)
    except Unreadable:
        return {}
    inner = document.get("data")
    return inner if isinstance(inner, dict) else document


def _inside(document: dict[str, Any], name: str) -> dict[str, Any]:
    inner = document.get(name)
    return inner if isinstance(inner, dict) else document


def _first(document: Mapping[str, Any], row: Mapping[str, Any], name: str) -> object:
    return document.get(name, row.get(name))


def _rows(reply: Reply, name: str) -> list[dict[str, Any]]:
    document = _document(reply)
    listed = document.get("data", document.get(name, reply))
    if isinstance(listed, dict):
        listed = listed.get(name, listed.get("items", reply))
    if listed is None:
        return []  # how the gateway's language writes a list that was never filled
    if not isinstance(listed, list):
        raise _unreadable(f"no list of {name}", reply)
    return [row for row in listed[:_MOST_ROWS] if isinstance(row, dict)]


def _secret(document: Mapping[str, Any], name: str) -> SecretStr | None:
    inner = document.get(name)
    value = document.get("signing_secret") or (inner.get("signing_secret") if isinstance(inner, dict) else None)
    if not isinstance(value, str) or not value.strip() or len(value) > _LONGEST_SECRET:
        return None
    return SecretStr(value.strip())
