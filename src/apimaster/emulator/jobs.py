"""Jobs: what the gateway has taken on. Time alone moves them, and nobody has to wait for them.

The state of a job is worked out from the clock when somebody asks, so a thousand running jobs cost nothing. The
clock can be moved by hand (``advance``), and a job can be ended by hand (``finish``, ``fail``): tests never sleep.
Refunds of failed jobs are booked when the job has ended, whoever looks first, the bill included.
"""

from __future__ import annotations

import asyncio
import heapq
import math
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from .bill import Bill, Entry
from .checks import Order
from .dialects import Dialect
from .options import Latency

State = Literal["queued", "running", "succeeded", "failed"]


class Clock:
    """Monotonic seconds that can be moved forward."""

    def __init__(self) -> None:
        self.offset = 0.0

    def now(self) -> float:
        """Seconds; only differences mean anything."""
        return time.monotonic() + self.offset

    def wall(self) -> float:
        """Unix seconds, moved along."""
        return time.time() + self.offset


@dataclass(slots=True, eq=False)
class Job:
    """One job: the order, when it ends and how, and what was seen of it.

    Attributes:
        id: ``task_…``.
        order: what was asked for.
        key: which key asked, from 0; other keys do not see the job.
        request_id: the request that began it.
        dialect: how its polls are worded.
        created: clock seconds.
        created_wall: unix seconds.
        duration: seconds until it ends; infinite if time does not end it.
        polls_needed: looks after which it is finished, or None.
        outcome: how it ends.
        reason: what a failure says of itself.
        estimate: seconds that the gateway expects it to take.
        origin: ``http://host:port`` as the caller knows the emulator.
        images: how many pictures it delivers.
        tracked: whether the caller was given its id; one-shot jobs are not.
        polls: how often it was looked at.
        image_tokens: the public names of its pictures.
    """

    id: str
    order: Order
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
    outcome: Literal["succeeded", "failed", "cancelled", "never", "no_image"] = "succeeded"
    reason: str | Mapping[str, Any] | None = None
    tracked: bool = True
    polls: int = 0
    ended_at: float | None = None
    settled: bool = False
    image_tokens: list[str] = field(default_factory=list)
    finished_reply: bytes | None = None
    woken: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    def remaining(self, now: float) -> float:
        """Seconds until it ends by itself; infinite if it does not."""
        return 0.0 if self.ended_at is not None else max(0.0, self.created + self.duration - now)

    def end_if_due(self, now: float) -> bool:
        """Whether it has ended; notes the moment."""
        if self.ended_at is not None:
            return True
        if self.outcome == "never":
            return False
        by_time = now >= self.created + self.duration
        if self.polls_needed is not None:
            by_time = self.polls > self.polls_needed
        if by_time:
            self.ended_at = min(now, self.created + self.duration)
        return by_time

    def state(self, now: float) -> State:
        """What a look at it would find."""
        if self.end_if_due(now):
            return "failed" if self.outcome in ("failed", "cancelled") else "succeeded"
        first_look = self.polls <= 1 and (self.polls_needed is not None or self.progress(now) < 5)
        return "queued" if first_look else "running"

    def progress(self, now: float) -> float:
        """Percent, by the time gone or the looks taken; 100 only once it has ended."""
        if self.ended_at is not None:
            return 100.0
        if self.polls_needed is not None:
            return 100.0 * min(self.polls, self.polls_needed) / (self.polls_needed + 1)
        if math.isinf(self.duration) or self.duration <= 0:
            return 0.0
        return min(99.0, 100.0 * (now - self.created) / self.duration)

    def as_json(self, now: float) -> dict[str, Any]:
        """A JSON object for the control route and the status page."""
        return {
            "id": self.id,
            "status": self.state(now),
            "progress": round(self.progress(now), 1),
            "model": self.order.model,
            "prompt": self.order.prompt,
            "size": self.order.aspect_ratio,
            "resolution": self.order.resolution,
            "references": len(self.order.references),
            "polls": self.polls,
            "created": self.created_wall,
            "tracked": self.tracked,
            "dialect": str(self.dialect),
            "images": list(self.image_tokens),
        }


class Jobs:
    """All jobs of an emulator, and the booking of what they cost; safe to use from any thread."""

    def __init__(self, clock: Clock, bill: Bill, history: int) -> None:
        self._clock = clock
        self._bill = bill
        self._history = history
        self._lock = threading.RLock()
        self._jobs: dict[str, Job] = {}
        self._ends: list[tuple[float, str]] = []  # when jobs that fail will do so, for the refund

    def begin(
        self,
        order: Order,
        *,
        key: int,
        request_id: str,
        dialect: Dialect,
        latency: Latency,
        duration: float,
        origin: str,
        images: int,
        tracked: bool,
    ) -> Job:
        """Take a job on and charge for it."""
        job = Job(
            id=f"task_{secrets.token_hex(13).upper()}",
            order=order,
            key=key,
            request_id=request_id,
            dialect=dialect,
            created=self._clock.now(),
            created_wall=self._clock.wall(),
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

    def will_end(self, job: Job, outcome: str, reason: str | Mapping[str, Any] | None = None) -> None:
        """Decide beforehand how a job ends."""
        with self._lock:
            job.outcome = outcome  # type: ignore[assignment]  # the words of the fault table
            job.reason = reason
            if outcome in ("failed", "cancelled") and math.isfinite(job.duration):
                heapq.heappush(self._ends, (job.created + job.duration, job.id))

    def end(self, job: Job, outcome: str | None = None, reason: str | Mapping[str, Any] | None = None) -> None:
        """End a job now."""
        with self._lock:
            if job.ended_at is not None:
                return
            if outcome is not None:
                self.will_end(job, outcome, reason)
            elif job.outcome == "never":
                job.outcome = "succeeded"
            job.ended_at = self._clock.now()
            self.settle(job)

    def settle(self, job: Job) -> None:
        """Give back what a failed job cost, once."""
        if job.settled or not job.end_if_due(self._clock.now()):
            return
        with self._lock:
            if not job.settled:
                job.settled = True
                if job.outcome in ("failed", "cancelled"):
                    self._book("refund", job)

    def settle_all(self) -> None:
        """Book the refunds of every job that has failed by now."""
        with self._lock:
            while self._ends and self._ends[0][0] <= self._clock.now():
                job = self._jobs.get(heapq.heappop(self._ends)[1])
                if job is not None:
                    self.settle(job)

    def get(self, job_id: str) -> Job | None:
        """The job of that id."""
        return self._jobs.get(job_id)

    def all(self) -> list[Job]:
        """Every job that is kept, oldest first."""
        with self._lock:
            return list(self._jobs.values())

    def clear(self) -> None:
        """Forget them all."""
        with self._lock:
            self._jobs.clear()
            self._ends.clear()

    def _book(self, kind: Literal["charge", "refund"], job: Job) -> None:
        price = job.order.price
        self._bill.add(
            Entry(
                kind=kind,
                amount=Decimal(0) if price is None else price * job.images,
                images=job.images,
                model=job.order.model,
                resolution=job.order.resolution,
                job_id=job.id,
                request_id=job.request_id,
                key=job.key,
                at=self._clock.wall(),
            )
        )

    def _drop_oldest(self) -> None:
        oldest = next(iter(self._jobs.values()))
        self.settle(oldest)
        del self._jobs[oldest.id]
