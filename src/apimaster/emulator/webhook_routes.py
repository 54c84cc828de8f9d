"""The routes with which a key manages its webhook endpoints and reads its events."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Final

from starlette.requests import Request
from starlette.routing import Route

from .gateway import Gateway
from .response_bodies import dump
from .responses import Response
from .validation import Refusal, parse_body
from .webhook_endpoints import WebhookEndpoint
from .webhook_events import EVENT_STATUSES, WebhookEvent

_MAX_BODY: Final = 64 * 1024
_DEFAULT_LIMIT: Final = 20
_MAX_LIMIT: Final = 100

# A handler gets the request, its body and the number of its key, and returns HTTP status and JSON.
_Reply = tuple[int, dict[str, Any]]
_Handler = Callable[[Request, Any, int], "_Reply | Awaitable[_Reply]"]


def webhook_routes(gateway: Gateway) -> list[Route]:
    """``/v1/webhook-endpoints``, ``/v1/webhook-events`` and ``/v1/webhook-capabilities``."""
    hooks = gateway.webhooks

    def create(request: Request, body: Any, key: int) -> _Reply:
        endpoint = hooks.register(body.get("url"), key)
        return 201, {"endpoint": endpoint.as_json(), "signing_secret": endpoint.secret}

    def list_endpoints(request: Request, body: Any, key: int) -> _Reply:
        return 200, {"data": [endpoint.as_json() for endpoint in hooks.endpoints.all(key)]}

    async def verify(request: Request, body: Any, key: int) -> _Reply:
        endpoint = endpoint_of(request, key)
        reason = await hooks.verify(endpoint)
        if reason is not None:
            raise Refusal(400, f"verification failed: {reason}", code="webhook_verification_failed")
        return 200, {"endpoint": endpoint.as_json()}

    def change(request: Request, body: Any, key: int) -> _Reply:
        endpoint = endpoint_of(request, key)
        enabled = body.get("enabled")
        if not isinstance(enabled, bool):
            raise Refusal(400, "enabled is required" if enabled is None else "enabled must be a boolean")
        hooks.switch(endpoint, enabled=enabled)
        return 200, {"endpoint": endpoint.as_json()}

    def rotate(request: Request, body: Any, key: int) -> _Reply:
        endpoint = endpoint_of(request, key)
        hooks.endpoints.rotate(endpoint)
        return 200, {
            "endpoint_id": endpoint.id,
            "key_id": endpoint.key_id,
            "signing_secret": endpoint.secret,
            "previous_key_id": endpoint.previous_key_id,
            "previous_valid_until": int(endpoint.previous_until or 0),
        }

    def list_events(request: Request, body: Any, key: int) -> _Reply:
        query = request.query_params
        limit = _number(query.get("limit"), "limit", _DEFAULT_LIMIT, 1, _MAX_LIMIT)
        offset = _number(query.get("offset"), "offset", 0, 0, None)
        status, task_id = query.get("status") or None, query.get("task_id") or None
        if status is not None and status not in EVENT_STATUSES:
            raise Refusal(400, f"status must be one of {', '.join(EVENT_STATUSES)}, not {status!r}")
        found = [
            event
            for event in reversed(hooks.events.all(key))
            if (task_id is None or event.task_id == task_id) and (status is None or event.status == status)
        ]
        return 200, {"data": [event.as_json() for event in found[offset : offset + limit]]}

    def show_event(request: Request, body: Any, key: int) -> _Reply:
        event = event_of(request, key)
        deliveries = [_delivery(each.as_json()) for each in event.deliveries]
        return 200, {"event": event.as_json(), "payload": parse_body(event.body), "deliveries": deliveries}

    def redeliver(request: Request, body: Any, key: int) -> _Reply:
        event = event_of(request, key)
        hooks.redeliver(event)
        return 202, {"event": event.as_json()}

    def capabilities(request: Request, body: Any, key: int) -> _Reply:
        model = request.query_params.get("model", "")
        if not model:
            raise Refusal(400, "model is required")
        return 200, hooks.capabilities(model)

    def endpoint_of(request: Request, key: int) -> WebhookEndpoint:
        found = hooks.endpoints.get(request.path_params["id"], key)
        if found is None:
            raise Refusal(404, "webhook endpoint not found", code="webhook_endpoint_not_found")
        return found

    def event_of(request: Request, key: int) -> WebhookEvent:
        found = hooks.events.get(request.path_params["id"], key)
        if found is None:
            raise Refusal(404, "webhook event not found", code="webhook_event_not_found")
        return found

    table: tuple[tuple[str, str, _Handler], ...] = (
        ("POST", "/v1/webhook-endpoints", create),
        ("GET", "/v1/webhook-endpoints", list_endpoints),
        ("POST", "/v1/webhook-endpoints/{id}/verify", verify),
        ("PATCH", "/v1/webhook-endpoints/{id}", change),
        ("POST", "/v1/webhook-endpoints/{id}/rotate-secret", rotate),
        ("GET", "/v1/webhook-events", list_events),
        ("GET", "/v1/webhook-events/{id}", show_event),
        ("POST", "/v1/webhook-events/{id}/redeliver", redeliver),
        ("GET", "/v1/webhook-capabilities", capabilities),
    )
    return [Route(path, _with_key(gateway, handler), methods=[method]) for method, path, handler in table]


def _with_key(gateway: Gateway, handler: _Handler) -> Callable[[Request], Awaitable[Response]]:
    """The handler behind what all of these routes have in common: the key, faults, the body, refusals."""

    async def route(request: Request) -> Response:
        record = gateway.request_log.add(request.scope, "webhooks")
        key = gateway.identify(record)
        if not gateway.options.webhook_routes:
            return gateway.error(record, 404, f"Invalid URL ({record.method} {record.path})")
        if key is None:
            return gateway.unauthorized(record)
        try:
            fault = gateway.settings_for(record, "webhooks").fault
        except ValueError as error:
            return gateway.error(record, 400, str(error))
        fault = fault or gateway.script.next_fault("webhooks")
        if fault is not None and not fault.accepted and fault.wire not in ("slow", "truncate"):
            return gateway.fault_response(fault, record)
        try:
            body = await _body(request)
            record.body = body or None
            answered = handler(request, body, key)
            status, document = await answered if inspect.isawaitable(answered) else answered
        except Refusal as refusal:
            return gateway.error(record, refusal.status, refusal.message, refusal.kind, refusal.code)
        if fault is not None:
            return gateway.fault_response(fault, record, dump(document))
        return Response(status, dump(document), headers=(("cache-control", "no-store"),), record=record)

    return route


async def _body(request: Request) -> Any:
    raw = bytearray()
    async for piece in request.stream():
        raw += piece
        if len(raw) > _MAX_BODY:
            raise Refusal(413, "request body too large", "new_api_error", "request_too_large")
    return parse_body(bytes(raw)) if raw else {}


def _number(text: str | None, name: str, default: int, lowest: int, highest: int | None) -> int:
    if not text:
        return default
    value = int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else -1
    if value < lowest or (highest is not None and value > highest):
        accepted = f"{lowest} or more" if highest is None else f"from {lowest} to {highest}"
        raise Refusal(400, f"{name} must be a number, {accepted}, not {text!r}")
    return value


def _delivery(full: dict[str, Any]) -> dict[str, Any]:
    """What the gateway knows of an attempt: nothing about the emulator's faults."""
    return {
        "id": full["id"],
        "attempt": full["attempt"],
        "status": "failed" if full["error"] else "succeeded",
        "status_code": full["status"],
        "error": full["error"],
        "duration_ms": round(full["seconds"] * 1000),
        "created_at": int(full["at"]),
        "key_id": full["key_id"],
    }
