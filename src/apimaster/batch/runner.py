"""Runs a batch from planned to saved: which image goes next, how many at once, and what becomes of each.

The client does the networking: it submits, polls and downloads. This module holds the rules for many images together:

- Only a few submits (``OPEN_SUBMITS``) are open at once, because a crash leaves those unknown.
- The ledger reserves money before a submit, and releases it only when nothing was charged for certain. An image that
  does not fit waits: one that is under way may fail, which gives its money back.
- Other processes may run the same batch: this one takes what is free, and ends when nobody has anything left to do.
- After a refusal that concerns all images (too many requests, no network), all of them wait. After one that no waiting
  can change (key, balance), the run submits nothing more, and still collects what is paid for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final

from ..errors import APIMasterError, BudgetExceededError, RateLimitError
from ..ledger.steps import Release
from .error_actions import ErrorAction, action_before_task
from .image_job import ImageJob
from .items import ENDED, BatchItem
from .ledger import BatchLedger
from .options import RunOptions
from .run_context import RunContext
from .tally import Tally
from .throttle import Throttle
from .work_queue import LOOK_AGAIN, WorkQueue

if TYPE_CHECKING:
    from decimal import Decimal
    from pathlib import Path

    from .. import AsyncAPIMaster
    from ..ledger import Ledger

OPEN_SUBMITS: Final = (2, 16)
"""The fewest and the most submits on the wire at once: so many images a crash leaves unknown. Between the two it is
an eighth of the concurrency, because a submit takes a part of a second, and a picture many times as long."""

MAX_REFUSED_SECONDS: Final = 900.0
"""Seconds of refusals, or of a pause that the gateway asks for, after which the run submits nothing more."""

_MAX_REFUSALS_AT_START: Final = 4
"""Refusals in a row after which the run gives up on a gateway that has never answered."""

_COUNT_SECONDS: Final = (0.5, 20)
"""Seconds between two counts of the images at least, and as many times as long as one takes."""

_MAX_FAILURES_IN_A_ROW: Final = 40
"""Submits in a row that the gateway failed, after which the run submits nothing more."""


class Runner:
    """Runs what the ledger lists until there is nothing left to do, or a reason to stop.

    Args:
        client: submits, waits and downloads.
        directory: the batch's folder.
        batch: the batch.
        ledger: its ledger.
        limit: US dollars that the batch may cost; None: no limit.
        tally: counts and money of the batch.
        options: how to run it.
        on_end: called with each image that this run is done with.
    """

    def __init__(
        self,
        client: AsyncAPIMaster,
        directory: Path,
        batch: BatchLedger,
        ledger: Ledger,
        *,
        limit: Decimal | None,
        tally: Tally,
        options: RunOptions,
        on_end: Callable[[BatchItem], None],
    ) -> None:
        self.tally = tally
        self.throttle = Throttle(options.concurrency)
        self.limit = limit
        self.stopped_by: APIMasterError | None = None
        self._batch = batch
        self._concurrency = options.concurrency
        self._max_submits = min(OPEN_SUBMITS[1], max(OPEN_SUBMITS[0], options.concurrency // 8))
        self._on_end = on_end
        self._context = RunContext(
            client, directory, ledger, batch.budget_name, options.timeout, self._decide, self._note_submit_end
        )
        self._queue = WorkQueue(batch, ledger, self._max_submits)
        self._jobs: set[ImageJob] = set()
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
        counting = asyncio.create_task(self._count_regularly())
        try:
            while not self._halted and self._crash is None:
                self._changed.clear()
                started, seconds = await self._start_one()
                if started:
                    continue
                if seconds is None and not self._running:
                    seconds = await self._seconds_until_more()
                    if seconds is None:
                        break
                await self._wait_for_change(LOOK_AGAIN if seconds is None else seconds)
            while self._submitting or any(job.holds_picture for job in self._jobs):
                self._changed.clear()  # each answer brings a task's id, or the picture itself: worth the wait
                await self._changed.wait()
        finally:
            counting.cancel()
            for task in self._running:
                task.cancel()
            await asyncio.gather(counting, *self._running, return_exceptions=True)
            self._give_back()
        if self._crash is not None:
            raise self._crash
        await self.count()
        if self._limit_reached and self.stopped_by is None and not self._halted:
            left = self.tally.counts["planned"]
            self.stopped_by = BudgetExceededError(
                f"The limit is reached: {left} image{'' if left == 1 else 's'} not submitted",
                advice="Raise the limit, then run the batch again.",
            )

    async def count(self) -> None:
        """Count the images in the ledger: also those that other processes make."""
        counts = await asyncio.to_thread(self._batch.counts)
        self.tally.update(counts, time.monotonic())

    async def _count_regularly(self) -> None:
        shortest, times = _COUNT_SECONDS
        while True:
            begun = time.monotonic()
            await self.count()
            await asyncio.sleep(max(shortest, times * (time.monotonic() - begun)))

    async def _seconds_until_more(self) -> float | None:
        """Seconds until there may be something to do, when nothing is under way here; None: the run is over."""
        if self.stopped_by is not None or self._limit_reached:
            return None
        return await self._queue.look_again()

    def _give_back(self) -> None:
        """Let go of what this run has taken and not begun; a call that was stopped has let go by itself."""
        for job in (*self._queue.not_begun(), *self._jobs):
            if job.claim is not None:
                self._context.ledger.take(Release(key=job.key, claim=job.claim))

    async def _wait_for_change(self, seconds: float | None) -> None:
        # Not ``wait_for``: until Python 3.12 it loses a cancellation that comes at the same moment as the change.
        waiting = asyncio.ensure_future(self._changed.wait())
        try:
            await asyncio.wait({waiting}, timeout=seconds)
        finally:
            waiting.cancel()

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
        if self._limit_reached:
            return False, None
        job, seconds = await self._queue.next_planned(now)
        if job is None:
            return False, seconds
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
        self._jobs.add(job)  # as long as the ledger may hold it for this process
        failure = await job.run(self._context)
        if failure is not None:
            await self._handle_error(job, *failure)
        self._jobs.discard(job)
        if job.item.state in ENDED or job.item.id in self._queue.done:
            self._on_end(job.item)

    def _decide(self, job: ImageJob, error: APIMasterError) -> ErrorAction:
        """What an error of a submit that cost nothing means for its image; and note what it means for the others."""
        action = action_before_task(error)
        if action == "retry":
            job.failed_submits += 1
            self._failures_in_a_row += 1
            if self._failures_in_a_row >= _MAX_FAILURES_IN_A_ROW:
                self._stop(error)
            elif job.failed_submits > self._context.max_retries:
                action = "fail"
        if action == "stop":
            self._stop(error)
        return action

    async def _handle_error(self, job: ImageJob, action: ErrorAction, error: APIMasterError) -> None:
        """Record what the error made of the image, and apply what it means for the others."""
        submitting = job.item.state == "submitting"
        if submitting and action in ("slow_down", "wait_for_network", "retry", "over_budget", "stop"):
            job.item = job.item.changed(state="planned", error=error.message, error_type=type(error).__name__)
            self._plan_again(job, action, error)
        else:
            if action == "fail":
                await job.record_failed(self._context, error)
            elif action == "mark_unknown":
                await job.record_unknown(self._context, error)
            else:
                await job.record_kept(self._context, error)
            if action == "stop":
                self._stop(error)
            job.item = await asyncio.to_thread(self._batch.item, job.item.id)
            # What was unknown and is not any more is work: its request had a reply, in another process.
            if job.item.state not in ENDED and not (submitting and action == "mark_unknown"):
                self._queue.done.add(job.item.id)
        if job.item.state in ("planned", "failed") and action != "over_budget":
            self._limit_reached = False  # its money came back
        if submitting:
            self._note_submit_end(job, False)

    def _plan_again(self, job: ImageJob, action: ErrorAction, error: APIMasterError) -> None:
        now = time.monotonic()
        if action == "over_budget":
            self._limit_reached = True
            self._queue.put_first(job)
            return
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
