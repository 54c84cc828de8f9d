"""One attempt to deliver an event: signed anew, sent, and recorded with what came of it."""

from __future__ import annotations

import secrets
import time

from ..webhooks import sign
from .clock import Clock
from .faults import Fault
from .webhook_events import WebhookDelivery, WebhookEvent, WebhookEvents
from .webhook_sender import Answer, WebhookSender


class WebhookAttempts:
    """Makes attempts on one event loop, and records them in ``events``.

    Args:
        clock: of the emulator.
        events: where attempts are kept.
        timeout: seconds that a receiver has for its answer.
    """

    def __init__(self, clock: Clock, events: WebhookEvents, timeout: float) -> None:
        self._clock = clock
        self._events = events
        self._sender = WebhookSender(timeout)

    async def make(self, event: WebhookEvent, fault: Fault | None = None, *, forged: bool = False) -> Answer:
        """Make one attempt, and record it. A forged one is signed with a secret that is not the endpoint's."""
        # The signature's time is the machine's, since the receiver compares it with its own clock.
        timestamp = time.time()
        kind = None if fault is None else fault.delivery
        if fault is not None and kind == "stale":
            timestamp -= fault.seconds
        endpoint = event.endpoint
        secret, key_id = endpoint.signing_key(self._clock.unix_time(), previous=kind == "old_secret")
        if forged:
            secret = secrets.token_urlsafe(32)
        delivery_id = f"dlv_{secrets.token_hex(10)}"
        headers = {
            "X-APIMaster-Event-ID": event.id,
            "X-APIMaster-Delivery-ID": delivery_id,
            **sign(event.body, secret, timestamp=int(timestamp), key_id=key_id),
        }
        generation, at, begun = self._events.generation, self._clock.unix_time(), time.monotonic()
        event.attempts += 1
        number = event.attempts
        if kind == "lost":
            answer = Answer(200)  # as a proxy in front of the receiver says, which then loses it
        elif kind == "unreachable":
            answer = Answer(None, error="the connection was refused")
        else:
            answer = await self._sender.post(endpoint.url, event.body, headers)
        if generation == self._events.generation:
            record = WebhookDelivery(
                id=delivery_id,
                event_id=event.id,
                endpoint_id=endpoint.id,
                type=event.type,
                task_id=event.task_id,
                attempt=number,
                at=at,
                seconds=time.monotonic() - begun,
                status=answer.status,
                error=refusal(answer),
                fault=None if fault is None else fault.name,
                key_id=key_id,
            )
            self._events.record(event, record)
        return answer

    async def aclose(self) -> None:
        """Close all connections."""
        await self._sender.aclose()


def refusal(answer: Answer) -> str | None:
    """Why an answer does not count as delivered; None if it does."""
    if answer.status is not None and 200 <= answer.status < 300:
        return None
    return answer.error or f"HTTP {answer.status}"
