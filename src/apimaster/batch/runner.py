"""Runs a batch from planned to saved: which image goes next, how many at once, and what becomes of each.

The client does the networking: it submits, polls and downloads. This module holds the rules for many images together:

- The ledger has a row as ``submitting`` before its request goes out, and only a few rows (``OPEN_SUBMITS``) are in that
  state at once, because a crash leaves those unknown.
- The budget reserves money before a submit, and releases it only when nothing was charged for certain.
- After a refusal that concerns all images (too many requests, no network), all of them wait. After one that no waiting
  can change (key, balance), the run submits nothing more, and still collects what is paid for.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final

from ..errors import APIMasterError, BudgetExceededError, RateLimitError
from .budget import Budget
from .error_actions import ErrorAction
from .image_job import ImageJob, RunContext
from .items import BatchItem
from .ledger_writer import LedgerWriter
from .options import RunOptions
from .tally import Tally
from .throttle import Throttle
from .work_queue import WorkQueue

if TYPE_CHECKING:
    from pathlib import Path

    from .. import AsyncAPIMaster

OPEN_SUBMITS: Final = (2, 16)
"""The fewest and the most submits on the wire at once: so many images a crash leaves unknown. Between the two it is
an eighth of the concurrency, because a submit takes a part of a second, and a picture many times as long."""

MAX_REFUSED_SECONDS: Final = 900.0
"""Seconds of refusals, or of a pause that the gateway asks for, after which the run submits nothing more."""

_MAX_REFUSALS_AT_START: Final = 4
"""Refusals in a row after which the run gives up on a gateway that has never answered."""

_MAX_FAILURES_IN_A_ROW: Final = 40
"""Submits in a row that the gateway failed, after which the run submits nothing more."""


class Runner:
    """Runs what the ledger lists until there is nothing left to do, or a reason to stop.

    Args:
        client: submits, waits and downloads.
        directory: the batch's folder.
        ledger: the folder's ledger, open.
        budget: the caller's limits.
        tally: counts and money of the batch.
        options: how to run it.
        on_end: called with each image that this run is done with.
    """

    def __init__(
        self,
        client: AsyncAPIMaster,
        directory: Path,
        ledger: LedgerWriter,
        *,
        budget: Budget,
        tally: Tally,
        options: RunOptions,
        on_end: Callable[[BatchItem], None],
    ) -> None:
        self.tally = tally
        self.throttle = Throttle(options.concurrency)
        self.budget = budget
        self.stopped_by: APIMasterError | None = None
        self._concurrency = options.concurrency
        self._max_submits = min(OPEN_SUBMITS[1], max(OPEN_SUBMITS[0], options.concurrency // 8))
        self._on_end = on_end
        self._context = RunContext(
            client, directory, ledger, options.timeout, self._count_transition, self._note_submit_end
        )
        self._queue = WorkQueue(ledger)
        self._running: set[asyncio.Task[None]] = set()
        self._submitting: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._halted = False
        self._crash: BaseException | None = None
        self._limit_reached = False
        self._ever_accepted = False
        self._refused_since: float | None = None
        self._failures_in_a_row = 0

    def halt(self) -> None:
        """Submit nothing more, record what is under way, and end ``run``."""
        self._halted = True
        self._changed.set()

    @property
    def halted(self) -> bool:
        """Whether ``halt`` was called."""
        return self._halted

    async def run(self) -> None:
        """Return when every image has ended, or as many as can end now.

        Raises:
            LedgerError: the ledger can't be written any more.
        """
        try:
            while not self._halted and self._crash is None:
                self._changed.clear()
                started, seconds = await self._start_one()
                if started:
                    continue
                if seconds is None and not self._running:
                    break
                await self._wait_for_change(seconds)
            while self._submitting and self._crash is None:  # each answer brings a task id: worth the wait
                self._changed.clear()
                await self._changed.wait()
        finally:
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)
        if self._crash is not None:
            raise self._crash
        if self._limit_reached and self.stopped_by is None and not self._halted:
            left = self.tally.counts["planned"]
            self.stopped_by = BudgetExceededError(
                f"The limit is reached: {left} image{'' if left == 1 else 's'} not submitted",
                advice="Raise the limit, then run the batch again.",
            )

    async def _wait_for_change(self, seconds: float | None) -> None:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._changed.wait(), seconds)

    # --- what goes next -------------------------------------------------------------------------------

    async def _start_one(self) -> tuple[bool, float | None]:
        """Start one image, if one may start. Gives whether it did; if not, how long to wait (None: for a change)."""
        if len(self._running) >= self._concurrency:
            return False, None
        paid = await self._queue.next_paid()
        if paid is not None:
            self._start_task(self._work(paid))
            return True, None
        if self.stopped_by is not None or self._halted:
            return False, None
        if len(self._running) >= self.throttle.ceiling or len(self._submitting) >= self._max_submits:
            return False, None
        now = time.monotonic()
        pause = self.throttle.pause(now)
        if pause > 0:
            return False, pause
        job, seconds = await self._queue.next_planned(now)
        if job is None:
            return False, seconds
        if not self.budget.reserve(job.item.price):
            # The gateway may still refund an image that is under way; then this one fits.
            self._queue.put_first(job)
            self._limit_reached = True
            return False, None
        self._limit_reached = False
        task = self._start_task(self._work(job))
        self._submitting.add(task)
        job.submitting = task
        return True, None

    def _start_task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._task_done)
        return task

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._submitting.discard(task)
        if not task.cancelled() and task.exception() is not None and self._crash is None:
            self._crash = task.exception()
        self._changed.set()

    # --- what becomes of it ---------------------------------------------------------------------------

    async def _work(self, job: ImageJob) -> None:
        failure = await job.run(self._context)
        if failure is not None:
            await self._handle_error(job, *failure)
        if job.item.state != "planned":
            self._on_end(job.item)

    async def _handle_error(self, job: ImageJob, action: ErrorAction, error: APIMasterError) -> None:
        """Record what the error made of the image, and apply what it means for the others."""
        if action == "retry":
            job.failed_submits += 1
            self._failures_in_a_row += 1
            if self._failures_in_a_row >= _MAX_FAILURES_IN_A_ROW:
                self._stop(error)
            elif job.failed_submits > self._context.max_retries:
                action = "fail"
        if action == "stop":
            self._stop(error)
        if job.item.state == "submitting" and error.billed != "no":
            action = "mark_unknown"  # for instance a picture that came with the answer and could not be written
        if action == "fail":
            await job.record_end(self._context, "failed", error)
        elif action == "mark_unknown":
            await job.record_end(self._context, "unknown", error)
        elif job.item.state == "submitting":  # nothing was charged, so it may be sent again
            await job.record_planned_again(self._context, error)
        else:
            await job.record_kept(self._context, error)
        if job.item.state in ("planned", "failed"):
            self.budget.release(job.item.price)
        if job.item.state == "planned":
            self._postpone(job, action, error)

    def _postpone(self, job: ImageJob, action: ErrorAction, error: APIMasterError) -> None:
        now = time.monotonic()
        if action in ("slow_down", "wait_for_network"):
            self._pause_all(action, error, now)
        self._queue.postpone(job, now + self._context.backoff(job.failed_submits) if action == "retry" else now)

    def _pause_all(self, action: ErrorAction, error: APIMasterError, now: float) -> None:
        retry_after = error.retry_after if isinstance(error, RateLimitError) else None
        self.throttle.refused(now, len(self._running) - 1, retry_after, rate_limited=action == "slow_down")
        self._refused_since = self._refused_since or now
        unreachable = action == "wait_for_network" and not self._ever_accepted
        if (
            (unreachable and self.throttle.refusals >= _MAX_REFUSALS_AT_START)
            or now - self._refused_since > MAX_REFUSED_SECONDS
            or (retry_after or 0.0) > MAX_REFUSED_SECONDS
        ):
            self._stop(error)

    def _stop(self, error: APIMasterError) -> None:
        if self.stopped_by is None:
            self.stopped_by = error

    # --- called by the image jobs ---------------------------------------------------------------------

    def _note_submit_end(self, job: ImageJob, accepted: bool) -> None:
        """Note that the submit of ``job`` was answered, and that the answer is on disk."""
        if job.submitting is not None:
            self._submitting.discard(job.submitting)
        if accepted:
            self._ever_accepted = True
            self._refused_since = None
            self._failures_in_a_row = 0
            self.throttle.accepted()
        self._changed.set()

    def _count_transition(self, job: ImageJob, before: BatchItem) -> None:
        self.tally.move(before.state, job.item.state, job.item.price, time.monotonic())
