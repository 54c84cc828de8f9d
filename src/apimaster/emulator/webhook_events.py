"""Webhook events: what an event says, how far its delivery is, and every attempt to deliver it."""

from __future__ import annotations

import secrets
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

from ..webhooks import TASK_COMPLETED, TASK_FAILED, VERIFICATION
from .faults import Fault
from .image_jobs import ImageJob
from .response_bodies import dump
from .webhook_endpoints import WebhookEndpoint

API_VERSION: Final = "2026-10-03"
TASK_EVENTS: Final = (TASK_COMPLETED, TASK_FAILED)
EventStatus = Literal["pending", "paused", "delivered", "failed"]
EVENT_STATUSES: Final[tuple[EventStatus, ...]] = ("pending", "paused", "delivered", "failed")

_FORGED: Final = "http://127.0.0.1:9"  # nobody listens there
_NO_REASON: Final = {"code": "image_generation_failed", "message": "image generation failed"}


@dataclass(frozen=True, slots=True)
class WebhookDelivery:
    """One attempt to deliver an event.

    Attributes:
        id: ``dlv_…``, as in the header ``X-APIMaster-Delivery-ID``.
        event_id: of the event. A forged delivery has an id that belongs to no event.
        endpoint_id: where it went.
        type: of the event.
        task_id: of the event; None for a verification.
        attempt: counted from 1 for each event.
        at: unix seconds.
        seconds: how long the attempt took.
        status: HTTP status of the receiver's answer; None if there was none.
        error: why the attempt did not count as delivered; None if it did.
        fault: the name of the fault that happened, or None.
        key_id: the id of the secret that signed it, as the signature says.
    """

    id: str
    event_id: str
    endpoint_id: str
    type: str
    task_id: str | None
    attempt: int
    at: float
    seconds: float
    status: int | None
    error: str | None
    fault: str | None
    key_id: str

    def as_json(self) -> dict[str, Any]:
        """A JSON object."""
        return asdict(self)


@dataclass(slots=True, eq=False)
class WebhookEvent:
    """One event on its way to one endpoint.

    Attributes:
        id: ``evt_…``; the same in every attempt.
        type: ``task.completed``, ``task.failed`` or ``webhook.endpoint_verification``.
        endpoint: where it goes.
        body: the bytes of every delivery.
        created: unix seconds, by the emulator's clock.
        task_id: the task that has ended; None for a verification.
        prompt: of the task, for scripted faults.
        fault: what the request for the image chose for the first attempt.
        status: ``pending``, ``paused`` (the endpoint is off), ``delivered`` or ``failed`` (given up).
        attempts: how many attempts there were.
        repeats: how many of them since ``started``; they decide the next pause.
        started: clock seconds of the event, or of its last redelivery: repeats end 72 hours later.
        next_attempt: unix seconds, or None.
        ticket: counts the plans for a next attempt; only the newest plan is carried out.
        busy: an attempt is under way, or a redelivery was asked for.
        redelivered: unix seconds of each redelivery that was asked for.
        deliveries: every attempt, oldest first.
    """

    id: str
    type: str
    endpoint: WebhookEndpoint
    body: bytes = field(repr=False)
    created: float
    task_id: str | None = None
    prompt: str = ""
    fault: Fault | None = None
    status: EventStatus = "pending"
    attempts: int = 0
    repeats: int = 0
    started: float = 0.0
    next_attempt: float | None = None
    ticket: int = 0
    busy: bool = False
    redelivered: list[float] = field(default_factory=list)
    deliveries: list[WebhookDelivery] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The event as the gateway lists it."""
        return {
            "id": self.id,
            "type": self.type,
            "endpoint_id": self.endpoint.id,
            "task_id": self.task_id,
            "status": self.status,
            "attempts": self.attempts,
            "created_at": int(self.created),
            "next_attempt_at": None if self.next_attempt is None else int(self.next_attempt),
        }


class WebhookEvents:
    """The events of the emulator, and the latest deliveries; safe to use from any thread.

    Attributes:
        generation: counts the calls of ``clear``: what began before one must not be kept after it.
    """

    def __init__(self, history: int) -> None:
        self.generation = 0
        self._history = history
        self._lock = threading.Lock()
        self._events: dict[str, WebhookEvent] = {}
        self._deliveries: deque[WebhookDelivery] = deque(maxlen=history)

    def add(self, event: WebhookEvent) -> None:
        """Keep an event, so that it can be listed."""
        with self._lock:
            self._events[event.id] = event
            if len(self._events) > self._history:
                del self._events[next(iter(self._events))]

    def record(self, event: WebhookEvent, delivery: WebhookDelivery) -> None:
        """Keep one attempt."""
        with self._lock:
            event.deliveries.append(delivery)
            self._deliveries.append(delivery)

    def get(self, event_id: str, key: int) -> WebhookEvent | None:
        """The event of that id, if it belongs to that key."""
        found = self._events.get(event_id)
        return found if found is not None and found.endpoint.key == key else None

    def all(self, key: int | None = None) -> list[WebhookEvent]:
        """Every event of a key, or of all keys, oldest first."""
        with self._lock:
            return [each for each in self._events.values() if key is None or each.endpoint.key == key]

    def deliveries(self) -> list[WebhookDelivery]:
        """The latest attempts, oldest first."""
        with self._lock:
            return list(self._deliveries)

    def clear(self) -> None:
        """Forget all events and attempts."""
        with self._lock:
            self.generation += 1
            self._events.clear()
            self._deliveries.clear()


def task_event(job: ImageJob, endpoint: WebhookEndpoint, now: float) -> WebhookEvent:
    """The event of a task that has ended. ``now``: unix seconds."""
    failed = job.outcome in ("failed", "cancelled")
    ended = job.created_wall + (job.ended_at or job.created) - job.created
    return _event(
        TASK_FAILED if failed else TASK_COMPLETED,
        endpoint,
        now,
        {
            "task_id": job.id,
            "model": job.request.model,
            "kind": "image",
            "status": "failed" if failed else "completed",
            "client_reference_id": job.request.client_reference_id,
            "completed_at": int(ended),
            "task_url": f"{job.origin}/v1/tasks/{job.id}",
            "result": None if failed else {"outputs": _outputs(job)},
            "error": _error(job.reason) if failed else None,
        },
        task_id=job.id,
        prompt=job.request.prompt,
    )


def verification_event(endpoint: WebhookEndpoint, challenge: str, now: float) -> WebhookEvent:
    """The event that asks an endpoint to repeat ``challenge``."""
    return _event(VERIFICATION, endpoint, now, {"challenge": challenge})


def forged_event(event: WebhookEvent, other: ImageJob | None, now: float, *, failed: bool) -> WebhookEvent:
    """What somebody without the secret sends: that another task has failed, or that its picture lies elsewhere."""
    task_id = f"task_{secrets.token_hex(13).upper()}" if other is None else other.id
    output = {
        "output_id": "0",
        "type": "image",
        "url": f"{_FORGED}/forged.png",
        "authentication": "bearer",
        "expires_at": None,
    }
    data = {
        "task_id": task_id,
        "model": "forged" if other is None else other.request.model,
        "kind": "image",
        "status": "failed" if failed else "completed",
        "client_reference_id": None if other is None else other.request.client_reference_id,
        "completed_at": int(now),
        "task_url": f"{_FORGED}/v1/tasks/{task_id}",
        "result": None if failed else {"outputs": [output]},
        "error": dict(_NO_REASON) if failed else None,
    }
    return _event(TASK_FAILED if failed else TASK_COMPLETED, event.endpoint, now, data, task_id=task_id)


def _event(
    kind: str,
    endpoint: WebhookEndpoint,
    now: float,
    data: Mapping[str, Any],
    *,
    task_id: str | None = None,
    prompt: str = "",
) -> WebhookEvent:
    event_id = f"evt_{secrets.token_hex(12)}"
    document = {"id": event_id, "type": kind, "api_version": API_VERSION, "created_at": int(now), "data": data}
    return WebhookEvent(event_id, kind, endpoint, dump(document), now, task_id=task_id, prompt=prompt)


def _outputs(job: ImageJob) -> list[dict[str, Any]]:
    if job.outcome != "succeeded":
        return []
    return [
        {
            "output_id": str(index),
            "type": "image",
            "url": f"{job.origin}/v1/tasks/{job.id}/outputs/{index}/content",
            "authentication": "bearer",
            "expires_at": None,
        }
        for index in range(job.images + job.extra_images)
    ]


def _error(reason: str | Mapping[str, Any] | None) -> dict[str, Any]:
    if reason is None:
        return dict(_NO_REASON)
    if isinstance(reason, str):
        return {**_NO_REASON, "message": reason}
    return {name: reason.get(name) for name in ("code", "message")}
