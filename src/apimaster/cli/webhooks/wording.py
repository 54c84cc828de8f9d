"""How endpoints, events and deliveries are printed, and what a command advises where the client's advice is Python."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from ...errors import APIMasterError, BadRequestError, InternalServerError, NotFoundError, RateLimitError
from ...webhooks import (
    CreatedWebhookEndpoint,
    RotatedWebhookSecret,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookEventDetails,
    WebhookEventSummary,
    WebhookOutcomeUnknownError,
)
from ..printing import aligned, moment, one_line

VERIFY_NEXT: Final = (
    "Next: start the receiver with this secret, for example with `apimaster webhooks listen`, and then run "
    "`apimaster webhooks verify {id}`. Until that has succeeded, no request may name the endpoint."
)
SHOWN_ONCE: Final = "This secret is shown this once: whoever has it can sign events."
_LIST: Final = "`apimaster webhooks list` shows the endpoints and the key ids of their secrets"
_LOST: Final = {
    "create": f"{_LIST}. If there is a new one, `apimaster webhooks rotate ID` gives it a secret that you see.",
    "rotate": f"{_LIST}; if you don't have that one, run the same command again.",
    "redeliver": "`apimaster webhooks show ID` shows whether a delivery was started.",
}
_LIMIT: Final = {
    "create": "An account may have 20 endpoints, however long you wait: `apimaster webhooks list` shows them.",
    "redeliver": "The gateway redelivers an event 5 times a day; `apimaster task ID --wait` gets the picture itself.",
}
_REFUSED: Final = {
    "verify": "Start a receiver at the endpoint's URL that answers the challenge, then verify again.",
    "redeliver": "`apimaster webhooks show ID` shows whether a delivery is under way; events are kept for 30 days.",
}


def webhook_advice(error: APIMasterError, command: str) -> str | None:
    """What a user of the command can do next; None: as for every other command."""
    if isinstance(error, WebhookOutcomeUnknownError) or (isinstance(error, InternalServerError) and command in _LOST):
        return _LOST[command]
    if isinstance(error, RateLimitError) and error.retry_after is None:
        return _LIMIT.get(command)
    if isinstance(error, NotFoundError) and error.code == "webhook_endpoint_not_found":
        return "`apimaster webhooks list` shows the ids."
    if isinstance(error, NotFoundError) and error.code == "webhook_event_not_found":
        return "`apimaster webhooks events` shows the ids."
    if error.status_code == 409 and command == "redeliver":
        return "`apimaster webhooks show ID` shows how the delivery under way ends; ask for another one after that."
    if isinstance(error, BadRequestError) and error.status_code is not None:
        return _REFUSED.get(command)
    return None


def endpoint_lines(endpoints: Sequence[WebhookEndpoint]) -> list[str]:
    """A line for each endpoint, in columns."""
    return aligned([_endpoint_cells(endpoint) for endpoint in endpoints])


def _endpoint_cells(endpoint: WebhookEndpoint) -> tuple[str, ...]:
    cells = (
        endpoint.id,
        _word(endpoint.verified, "verified", "not verified"),
        _word(endpoint.enabled, "on", "off"),
        endpoint.key_id or "",
        _time(endpoint.created_at),
        endpoint.url or "",
    )
    return tuple(map(one_line, cells))


def event_lines(events: Sequence[WebhookEventSummary]) -> list[str]:
    """A line for each event, in columns."""
    return aligned([_event_cells(event) for event in events])


def _event_cells(event: WebhookEventSummary) -> tuple[str, ...]:
    attempts = "" if event.attempts is None else f"{event.attempts} deliveries"
    cells = (
        _time(event.created_at),
        event.id,
        event.type or "",
        event.status or "",
        attempts,
        event.task_id or "",
        event.endpoint_id or "",
    )
    return tuple(map(one_line, cells))


def event_facts(details: WebhookEventDetails) -> Iterator[str]:
    """Everything about an event: itself, its task, and a line for each delivery."""
    event = details.event
    yield f"{one_line(event.id)}: {one_line(event.status or 'no status')}"
    task = None if details.payload is None else details.payload.task
    facts = [
        ("type", event.type or ""),
        ("created at", _time(event.created_at)),
        ("endpoint", event.endpoint_id or ""),
        ("task", event.task_id or ""),
        ("task's status", "" if task is None else task.status),
        ("task's error", "" if task is None else task.error or ""),
        ("reference", "" if details.payload is None else details.payload.client_reference_id or ""),
        ("next delivery", _time(event.next_attempt_at)),
    ]
    yield from aligned([(f"  {name}", one_line(value)) for name, value in facts if value])
    yield from aligned([_delivery_cells(delivery) for delivery in details.deliveries])


def _delivery_cells(delivery: WebhookDelivery) -> tuple[str, ...]:
    answer = "no answer" if delivery.status_code is None else f"HTTP {delivery.status_code}"
    error = delivery.error or ""
    if error.strip().casefold() == answer.casefold():  # the gateway words a status that was no 2xx so
        error = ""
    cells = (_time(delivery.created_at), delivery.status or "", answer, error, delivery.id or "")
    return ("  delivery", *map(one_line, cells))


def secret_document(made: CreatedWebhookEndpoint | RotatedWebhookSecret) -> dict[str, Any]:
    """The JSON of a new secret, with the secret: the user of the command asked for it."""
    return {**made.model_dump(mode="json"), "signing_secret": made.signing_secret.get_secret_value()}


def _word(value: bool | None, yes: str, no: str) -> str:
    return "" if value is None else yes if value else no


def _time(value: float | None) -> str:
    return "" if value is None else moment(value)
