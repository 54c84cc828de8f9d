"""The gateway's webhooks: what their routes and a request for an image do with endpoints and events."""

from __future__ import annotations

import hmac
import json
import secrets
from collections.abc import Callable, Sequence
from typing import Any, Final

from .clock import Clock
from .fault_script import FaultScript
from .image_jobs import ImageJob
from .options import Options
from .validation import WEBHOOK_REFUSED, GenerationRequest, Refusal
from .webhook_attempts import WebhookAttempts
from .webhook_endpoints import WebhookEndpoint, WebhookEndpoints
from .webhook_events import API_VERSION, TASK_EVENTS, WebhookEvent, WebhookEvents, verification_event
from .webhook_queue import WebhookQueue

REDELIVERIES: Final = 5
"""Redeliveries of one event in 24 hours."""

_DAY: Final = 24 * 3600.0
_REDELIVERY_PERIOD: Final = 30 * _DAY


class Webhooks:
    """Endpoints, events and deliveries of one emulator."""

    def __init__(
        self,
        options: Options,
        clock: Clock,
        script: FaultScript,
        look_at_job: Callable[[ImageJob], None],
        call_soon: Callable[[Callable[[], None]], None],
    ) -> None:
        self._options = options
        self._clock = clock
        self.endpoints = WebhookEndpoints(clock, options.endpoint_limit)
        self.events = WebhookEvents(options.history)
        self._attempts = WebhookAttempts(clock, self.events, options.webhook_timeout)
        self.queue = WebhookQueue(
            clock,
            script,
            self.endpoints,
            self.events,
            self._attempts,
            first_pause=options.webhook_pause,
            look_at_job=look_at_job,
            call_soon=call_soon,
        )

    def clear(self) -> None:
        """Forget endpoints, events and deliveries."""
        self.events.clear()
        self.queue.clear()
        self.endpoints.clear()

    def supports(self, model: str) -> bool:
        """Whether the gateway sends webhooks for tasks of this model."""
        models: Sequence[str] | None = self._options.webhook_models
        return model in self._options.models and (models is None or model in models)

    def capabilities(self, model: str) -> dict[str, Any]:
        """What the gateway says about webhooks for a model."""
        supported = self.supports(model)
        events = list(TASK_EVENTS) if supported else []
        return {"model": model, "supported": supported, "events": events, "api_version": API_VERSION}

    def check(self, request: GenerationRequest, key: int) -> None:
        """Check the ``notifications`` of a request for an image.

        Raises:
            Refusal: 400, the model has no webhooks, or the endpoint can't be used.
        """
        wanted = request.notification
        if wanted is None or not self._options.webhook_routes:
            return
        endpoint = self.endpoints.get(wanted.endpoint_id, key)
        if not self.supports(request.model):
            raise _unusable(f"model {request.model} does not support webhooks")
        if endpoint is None:
            raise _unusable(f"webhook endpoint {wanted.endpoint_id} does not exist")
        if not endpoint.verified:
            raise _unusable(f"webhook endpoint {endpoint.id} is not verified")
        if not endpoint.enabled:
            raise _unusable(f"webhook endpoint {endpoint.id} is disabled")
        if unknown := [name for name in wanted.events or () if name not in TASK_EVENTS]:
            raise _unusable(f"webhook event {unknown[0]!r} is not known; accepted: {', '.join(TASK_EVENTS)}")

    def register(self, url: object, key: int) -> WebhookEndpoint:
        """Register an endpoint, and send it a challenge beside the response.

        Raises:
            Refusal: the URL is not taken, or there are too many endpoints.
        """
        endpoint = self.endpoints.register(url, key)

        async def first_challenge() -> None:
            await self.verify(endpoint)

        self.queue.start(first_challenge())
        return endpoint

    async def verify(self, endpoint: WebhookEndpoint) -> str | None:
        """Send a challenge now; returns why the endpoint is not verified, or None if it is."""
        challenge = secrets.token_urlsafe(24)
        event = verification_event(endpoint, challenge, self._clock.unix_time())
        answer = await self._attempts.make(event)
        if answer.status != 200:
            return answer.error or f"the endpoint answered HTTP {answer.status}, not 200"
        try:
            document = json.loads(answer.body)
        except ValueError:
            return "the endpoint did not answer with JSON"
        repeated = document.get("challenge") if isinstance(document, dict) else None
        if not isinstance(repeated, str) or not hmac.compare_digest(repeated.encode(), challenge.encode()):
            return "the endpoint did not repeat the challenge"
        endpoint.verified = True
        return None

    def switch(self, endpoint: WebhookEndpoint, *, enabled: bool) -> None:
        """Turn an endpoint on or off; on again, it gets what has waited."""
        endpoint.enabled = enabled
        if enabled:
            self.queue.resume(endpoint)

    def redeliver(self, event: WebhookEvent) -> None:
        """Deliver an event once more.

        Raises:
            Refusal: 409 while a delivery is under way, 429 after five in a day, 400 after 30 days or for an endpoint
                that is off.
        """
        now = self._clock.unix_time()
        if event.busy:
            raise Refusal(409, "a delivery of this event is under way", code="webhook_delivery_in_progress")
        if now - event.created > _REDELIVERY_PERIOD:
            raise Refusal(400, "the event is older than 30 days", code="webhook_event_expired")
        if not event.endpoint.enabled:
            raise _unusable(f"webhook endpoint {event.endpoint.id} is disabled")
        event.redelivered = [at for at in event.redelivered if at > now - _DAY]
        if len(event.redelivered) >= REDELIVERIES:
            raise Refusal(
                429,
                f"an event can be redelivered {REDELIVERIES} times a day",
                "new_api_error",
                "webhook_redelivery_limit_reached",
            )
        self.queue.redeliver(event)


def _unusable(message: str) -> Refusal:
    return Refusal(400, message, code=WEBHOOK_REFUSED)
