"""Image jobs: what the gateway has accepted. Time alone moves them; no thread and no task runs for them.

The emulator works the state of a job out from the clock when somebody asks, so a thousand running jobs cost nothing.
A test never sleeps: it moves the clock (``advance``) or ends a job (``finish``, ``fail``). The refund of a failed job
is booked when anybody first looks after the job has ended, be it a poll, the status page or the bill.
"""

from __future__ import annotations

import asyncio
import heapq
import math
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from .bill import Bill, Entry
from .clock import Clock
from .dialects import Dialect
from .faults import Fault
from .latency import Latency
from .validation import GenerationRequest

State = Literal["queued", "running", "succeeded", "failed"]


@dataclass(slots=True, eq=False)
class ImageJob:
    """One image job: the request, how and when the job ends, and how often it was polled.

    Attributes:
        id: ``task_…``, or ``imagine_batch_…`` for a batch.
        request: the request that the gateway accepted.
        key: which key sent the request, counted from 0; other keys do not see the job.
        request_id: the ``x-request-id`` of that request.
        dialect: the wording of the responses about this job.
        created: clock seconds.
        created_wall: unix seconds.
        duration: seconds until the job ends; infinite if time does not end it.
        polls_needed: how many polls find the job unfinished, or None if time ends it.
        outcome: how the job ends.
        reason: the error that a failed job reports.
        estimate: the seconds that the gateway announces for the job.
        origin: ``http://host:port`` by which the client knows the emulator.
        images: how many pictures the job is charged for.
        extra_images: how many it delivers besides, which cost nothing.
        tracked: whether the client was given the id; a one-shot call never learns it.
        polls: how often the job was polled.
        image_tokens: the names of its pictures in their URLs.
        ended_at: clock seconds, or None while the job runs.
        refund_checked: whether the bill holds the refund, should there be one, and the webhook is on its way.
        delivery_fault: the fault that the request chose for its webhook.
        final_poll_body: the poll response of the ended job, which does not change any more.
        notified: set when a one-shot call that waits for the job has to look at the clock again.
    """

    id: str
    request: GenerationRequest
    key: int
    request_id: str
    dialect: Dialect
    created: float
    created_wall: float
    duration: float
    polls_needed: int | None
    origin: str
    estimate: int = 60
    images: int = 1
    extra_images: int = 0
    outcome: Literal["succeeded", "failed", "cancelled", "never", "no_image"] = "succeeded"
    reason: str | Mapping[str, Any] | None = None
    tracked: bool = True
    polls: int = 0
    image_tokens: list[str] = field(default_factory=list)
    ended_at: float | None = None
    refund_checked: bool = False
    delivery_fault: Fault | None = None
    final_poll_body: bytes | None = None
    notified: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    @property
    def order(self) -> GenerationRequest:
        """The old name of ``request``."""
        return self.request

    def remaining(self, now: float) -> float:
        """Seconds until the job ends by itself; infinite if it does not."""
        return 0.0 if self.ended_at is not None else max(0.0, self.created + self.duration - now)

    def end_if_due(self, now: float) -> bool:
        """Whether the job has ended; notes the moment when it has."""
        if self.ended_at is not None:
            return True
        if self.outcome == "never":
            return False
        due = now >= self.created + self.duration
        if self.polls_needed is not None:
            due = self.polls > self.polls_needed
        if due:
            self.ended_at = min(now, self.created + self.duration)
        return due

    def state(self, now: float) -> State:
        """What a poll would find."""
        if self.end_if_due(now):
            return "failed" if self.outcome in ("failed", "cancelled") else "succeeded"
        queued = self.polls <= 1 and (self.polls_needed is not None or self.progress(now) < 5)
        return "queued" if queued else "running"

    def progress(self, now: float) -> float:
        """Percent of the time or of the polls; 100 only once the job has ended."""
        if self.ended_at is not None:
            return 100.0
        if self.polls_needed is not None:
            return 100.0 * min(self.polls, self.polls_needed) / (self.polls_needed + 1)
        if math.isinf(self.duration) or self.duration <= 0:
            return 0.0
        return min(99.0, 100.0 * (now - self.created) / self.duration)

    def as_json(self, now: float) -> dict[str, Any]:
        """A JSON object for the control routes."""
        return {
            "id": self.id,
            "status": self.state(now),
            "progress": round(self.progress(now), 1),
            "model": self.request.model,
            "prompt": self.request.prompt,
            "size": self.request.aspect_ratio,
            "resolution": self.request.resolution,
            "references": len(self.request.references),
            "mask": self.request.mask is not None,
            "polls": self.polls,
            "created": self.created_wall,
            "tracked": self.tracked,
            "dialect": str(self.dialect),
            "images": list(self.image_tokens),
        }


class ImageJobs:
    """All image jobs of an emulator, and the charges and refunds for them; safe to use from any thread."""

    def __init__(
        self, clock: Clock, bill: Bill, history: int, job_ended: Callable[[ImageJob], None] = lambda job: None
    ) -> None:
        self._clock = clock
        self._bill = bill
        self._history = history
        self._job_ended = job_ended
        self._lock = threading.RLock()
        self._jobs: dict[str, ImageJob] = {}
        self._failures: list[tuple[float, str]] = []  # a heap of when jobs will fail, for their refunds

    def start(
        self,
        request: GenerationRequest,
        *,
        key: int,
        request_id: str,
        dialect: Dialect,
        latency: Latency,
        duration: float,
        origin: str,
        images: int,
        tracked: bool,
    ) -> ImageJob:
        """Accept a request and charge for it."""
        job = ImageJob(
            id=f"{'imagine_batch_' if dialect.polls == 'batch' else 'task_'}{secrets.token_hex(13).upper()}",
            request=request,
            key=key,
            request_id=request_id,
            dialect=dialect,
            created=self._clock.now(),
            created_wall=self._clock.unix_time(),
            duration=duration,
            polls_needed=latency.polls,
            origin=origin,
            estimate=latency.estimate,
            images=images,
            tracked=tracked,
        )
        with self._lock:
            self._jobs[job.id] = job
            self._book("charge", job)
            if len(self._jobs) > self._history:
                self._drop_oldest()
        return job

    def set_outcome(self, job: ImageJob, outcome: str, reason: str | Mapping[str, Any] | None = None) -> None:
        """Decide in advance how a job ends."""
        with self._lock:
            job.outcome = outcome  # type: ignore[assignment]  # an outcome of the fault table
            job.reason = reason
            if outcome in ("failed", "cancelled") and math.isfinite(job.duration):
                heapq.heappush(self._failures, (job.created + job.duration, job.id))

    def end(self, job: ImageJob, outcome: str | None = None, reason: str | Mapping[str, Any] | None = None) -> None:
        """End a job now."""
        with self._lock:
            if job.ended_at is not None:
                return
            if outcome is not None:
                self.set_outcome(job, outcome, reason)
            elif job.outcome == "never":
                job.outcome = "succeeded"
            job.ended_at = self._clock.now()
            self.book_refund(job)

    def book_refund(self, job: ImageJob) -> None:
        """Refund a job if it has ended and failed, and report its end; any further call does nothing."""
        if job.refund_checked or not job.end_if_due(self._clock.now()):
            return
        with self._lock:
            if not job.refund_checked:
                job.refund_checked = True
                if job.outcome in ("failed", "cancelled"):
                    self._book("refund", job)
                self._job_ended(job)

    def book_due_refunds(self) -> None:
        """Refund every job that has failed by now."""
        with self._lock:
            while self._failures and self._failures[0][0] <= self._clock.now():
                job = self._jobs.get(heapq.heappop(self._failures)[1])
                if job is not None:
                    self.book_refund(job)

    def get(self, job_id: str) -> ImageJob | None:
        """The job of that id."""
        return self._jobs.get(job_id)

    def all(self) -> list[ImageJob]:
        """Every job that is kept, oldest first."""
        with self._lock:
            return list(self._jobs.values())

    def clear(self) -> None:
        """Forget all jobs."""
        with self._lock:
            self._jobs.clear()
            self._failures.clear()

    def _book(self, kind: Literal["charge", "refund"], job: ImageJob) -> None:
        price = job.request.price
        self._bill.add(
            Entry(
                kind=kind,
                amount=Decimal(0) if price is None else price * job.images,
                images=job.images,
                model=job.request.model,
                resolution=job.request.resolution,
                job_id=job.id,
                request_id=job.request_id,
                key=job.key,
                at=self._clock.unix_time(),
            )
        )

    def _drop_oldest(self) -> None:
        oldest = next(iter(self._jobs.values()))
        self.book_refund(oldest)
        del self._jobs[oldest.id]
