"""When which event goes out: at the end of its task, again until the receiver answers 2xx, and the faults on the way.

All of it waits in one heap, by the emulator's clock: tasks that time will end, and events that are due for an attempt.
A function looks at the heap whenever something changes or falls due, and starts at most a few dozen requests at once;
so thousands of events need neither a thread nor a task each. Whatever ends a job (time, a poll, a test) makes the
event, from any thread.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

from .clock import Clock
from .fault_script import FaultScript
from .faults import Fault
from .image_jobs import ImageJob
from .webhook_attempts import WebhookAttempts, refusal
from .webhook_endpoints import WebhookEndpoint, WebhookEndpoints
from .webhook_events import WebhookEvent, WebhookEvents, forged_event, task_event
from .webhook_sender import CONNECTIONS, Answer

GIVE_UP: Final = 72 * 3600.0
"""Seconds after which the gateway no longer repeats a delivery."""
LONGEST_PAUSE: Final = 3600.0

_OTHERS: Final = 64  # tasks from which a forged delivery chooses


@dataclass(slots=True, eq=False)
class _Attempt:
    """A planned attempt. ``fault`` was already decided if ``drawn``."""

    event: WebhookEvent
    ticket: int
    fault: Fault | None = None
    drawn: bool = False


class WebhookQueue:
    """Delivers the events of the emulator's tasks.

    Args:
        clock: of the emulator.
        script: decides the faults of deliveries.
        endpoints, events: where endpoints and events are kept.
        attempts: makes one attempt.
        first_pause: seconds between the first two attempts; each further pause is twice as long, up to an hour.
        look_at_job: called for a job that time has ended by now; it is expected to call `job_ended`.
        call_soon: runs a function on the emulator's event loop, from any thread; does nothing while there is none.
    """

    def __init__(
        self,
        clock: Clock,
        script: FaultScript,
        endpoints: WebhookEndpoints,
        events: WebhookEvents,
        attempts: WebhookAttempts,
        *,
        first_pause: float,
        look_at_job: Callable[[ImageJob], None],
        call_soon: Callable[[Callable[[], None]], None],
    ) -> None:
        self._clock = clock
        self._script = script
        self._endpoints = endpoints
        self._events = events
        self._attempts = attempts
        self._first_pause = first_pause
        self._look_at_job = look_at_job
        self._call_soon = call_soon
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._heap: list[tuple[float, int, ImageJob | _Attempt]] = []
        self._ready: deque[_Attempt] = deque()
        self._held: dict[str, list[_Attempt]] = {}  # the reordered ones, by endpoint
        self._running: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._watched: deque[ImageJob] = deque(maxlen=_OTHERS)
        self._forgeries = 0

    # --- from any thread ----------------------------------------------------------------------------------

    def watch(self, job: ImageJob) -> None:
        """Notice by the clock when this job ends; its request asked for a webhook."""
        self._watched.append(job)
        if job.polls_needed is None and job.duration < math.inf:
            self._push(job.created + job.duration, job)

    def job_ended(self, job: ImageJob) -> None:
        """Make the event of a job that has ended, if its request asked for it."""
        wanted = job.request.notification
        endpoint = None if wanted is None else self._endpoints.get(wanted.endpoint_id, job.key)
        if wanted is None or endpoint is None or not job.tracked:
            return
        event = task_event(job, endpoint, self._clock.unix_time())
        if wanted.events is not None and event.type not in wanted.events:
            return
        event.fault = job.delivery_fault
        event.started = self._clock.now()
        self._events.add(event)
        self._plan(event, 0.0)

    def redeliver(self, event: WebhookEvent) -> None:
        """Deliver an event now, whatever has become of it before, and repeat that as if it were new."""
        event.busy = True
        event.redelivered.append(self._clock.unix_time())
        event.repeats, event.started = 0, self._clock.now()
        self._plan(event, 0.0)

    def resume(self, endpoint: WebhookEndpoint) -> None:
        """Deliver what has waited while the endpoint was off."""
        for event in self._events.all():
            if event.endpoint is endpoint and event.status == "paused":
                self._plan(event, 0.0)

    def wake(self) -> None:
        """Look at the clock again."""
        self._call_soon(self._pump)

    def clear(self) -> None:
        """Forget every event; a request that is under way changes nothing any more."""
        with self._lock:
            self._heap.clear()
            self._ready.clear()
            self._held.clear()
            self._watched.clear()

    # --- on the event loop --------------------------------------------------------------------------------

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Do this beside what is under way."""
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._finished)

    async def settle(self) -> None:
        """Wait until every attempt that is due has been made; those that are due later stay planned."""
        while True:
            self._pump()
            if not self._running and not self._ready:
                return
            await asyncio.wait(set(self._running), return_when=asyncio.FIRST_COMPLETED)

    async def aclose(self) -> None:
        """Break off the requests that are under way, and close the connections; the plans stay."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await self._attempts.aclose()

    # --- inside -------------------------------------------------------------------------------------------

    def _plan(self, event: WebhookEvent, pause: float, fault: Fault | None = None, *, drawn: bool = False) -> _Attempt:
        event.ticket += 1
        event.status = "pending"
        event.next_attempt = self._clock.unix_time() + pause
        attempt = _Attempt(event, event.ticket, fault, drawn)
        self._push(self._clock.now() + pause, attempt)
        return attempt

    def _push(self, due: float, what: ImageJob | _Attempt) -> None:
        with self._lock:
            heapq.heappush(self._heap, (due, next(self._numbers), what))
        self.wake()

    def _pop_due(self) -> ImageJob | _Attempt | None:
        with self._lock:
            if self._heap and self._heap[0][0] <= self._clock.now():
                return heapq.heappop(self._heap)[2]
            return None

    def _pump(self) -> None:
        """Start what is due, as far as connections are free, and come back when the next is due."""
        while (due := self._pop_due()) is not None:
            if isinstance(due, ImageJob):
                self._look_at_job(due)
            else:
                self._ready.append(due)
        while self._ready and len(self._running) < CONNECTIONS:
            self._start_attempt(self._ready.popleft())
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        with self._lock:
            next_due = self._heap[0][0] if self._heap else None
        if next_due is not None:
            pause = max(0.0, next_due - self._clock.now())
            self._timer = asyncio.get_running_loop().call_later(pause, self._pump)

    def _start_attempt(self, attempt: _Attempt) -> None:
        event = attempt.event
        if attempt.ticket != event.ticket:
            return  # planned anew since
        if not event.endpoint.enabled:
            event.status, event.next_attempt, event.busy = "paused", None, False
            return
        if self._clock.now() > event.started + GIVE_UP:
            event.status, event.next_attempt, event.busy = "failed", None, False
            return
        if not attempt.drawn:
            attempt.fault = event.fault or self._script.next_fault("delivery", prompt=event.prompt, task=event.task_id)
            event.fault = None
            if attempt.fault is not None and attempt.fault.delivery in ("delayed", "reordered"):
                self._hold_back(event, attempt.fault)
                return
        event.ticket += 1  # no other plan for this event counts any more, nor does its place among the held ones
        event.busy, event.next_attempt = True, None
        self.start(self._deliver(attempt))

    def _hold_back(self, event: WebhookEvent, fault: Fault) -> None:
        attempt = self._plan(event, fault.seconds, fault, drawn=True)
        if fault.delivery == "reordered":
            self._held.setdefault(event.endpoint.id, []).append(attempt)

    def _release(self, endpoint: WebhookEndpoint) -> None:
        """Let the reordered events go: another one of their endpoint has been delivered before them."""
        for held in reversed(self._held.pop(endpoint.id, [])):
            if held.ticket == held.event.ticket:
                self._plan(held.event, 0.0, held.fault, drawn=True)

    async def _deliver(self, attempt: _Attempt) -> None:
        event, fault, generation = attempt.event, attempt.fault, self._events.generation
        kind = None if fault is None else fault.delivery
        try:
            if kind == "forged":
                await self._attempts.make(self._forged(event), fault, forged=True)
                fault = None
            answer = await self._attempts.make(event, fault)
            if kind == "duplicated":
                await self._attempts.make(event, fault)
        except asyncio.CancelledError:
            if generation == self._events.generation:
                event.busy = False
                self._plan(event, 0.0, attempt.fault, drawn=True)  # the emulator stops; it may start again
            raise
        if generation == self._events.generation:
            self._note(event, answer)
            self._release(event.endpoint)

    def _note(self, event: WebhookEvent, answer: Answer) -> None:
        """Decide what becomes of an event after an attempt."""
        event.busy = False
        if answer.status == 410:
            event.endpoint.enabled = False
        if refusal(answer) is None:
            event.status = "delivered"
        elif not event.endpoint.enabled:
            event.status = "paused"
        else:
            pause = min(self._first_pause * 2.0**event.repeats, max(LONGEST_PAUSE, self._first_pause))
            event.repeats += 1
            if self._clock.now() + pause > event.started + GIVE_UP:
                event.status = "failed"
            else:
                self._plan(event, pause)

    def _forged(self, event: WebhookEvent) -> WebhookEvent:
        """What somebody without the secret sends: about a task that a receiver may still be waiting for."""
        others = [job for job in reversed(self._watched) if job.id != event.task_id]
        other = next((job for job in others if job.ended_at is None), others[0] if others else None)
        self._forgeries += 1
        return forged_event(event, other, self._clock.unix_time(), failed=self._forgeries % 2 == 0)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            self._pump()
            task.result()
