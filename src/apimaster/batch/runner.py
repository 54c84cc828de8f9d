"""From planned to saved: which image goes next, how many at once, and what becomes of each.

The network is the client's: it submits, polls and downloads. Here stands what belongs to many images together:

- a row is ``submitting`` on disk before its request goes out, and only a few rows (``SUBMITS``) are in that state at
  once, because it is those that a crash leaves unknown;
- money is set aside before the submit, and given back only when it is sure that nothing was charged;
- a refusal that concerns all (too many requests, no network) makes all of them wait; one that no waiting mends
  (key, balance) ends the submitting, while what is paid for is still collected.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ..errors import APIMasterError, BudgetExceededError
from .budget import Budget
from .items import BatchItem
from .job import Job, Tools
from .journal import Journal
from .tally import Tally
from .throttle import Throttle
from .upcoming import Upcoming
from .verdicts import Verdict

if TYPE_CHECKING:
    from pathlib import Path

    from .. import AsyncAPIMaster

SUBMITS: Final = (2, 16)
"""Submits on the wire at once, at least and at most: after a crash, so many images are unknown. Between the two it is
an eighth of the concurrency: a submit takes a part of a second, a picture many times as long."""

PATIENCE: Final = 900.0
"""Seconds of refusals, or of a pause that is asked for, after which nothing more is submitted in this run."""

_GIVE_UP_AT_START: Final = 4
"""Refusals in a row after which a gateway that has never answered is given up."""

_FAULTS_IN_A_ROW: Final = 40
"""Submits in a row that the gateway failed, after which nothing more is submitted."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """How a batch is run.

    Attributes:
        concurrency: images under way at once, at most.
        timeout: seconds for one image, waiting included; None: by resolution.
    """

    concurrency: int = 32
    timeout: float | None = None


class Runner:
    """Runs what the ledger lists until there is nothing left to do, or a reason to stop.

    Args:
        client: submits, waits and downloads.
        directory: the batch's folder.
        journal: its ledger, open.
        budget: the caller's limits.
        tally: how it stands.
        wishes: how it is run.
        on_end: called with each image that this run is done with.
    """

    def __init__(
        self,
        client: AsyncAPIMaster,
        directory: Path,
        journal: Journal,
        *,
        budget: Budget,
        tally: Tally,
        wishes: Wishes,
        on_end: Callable[[BatchItem], None],
    ) -> None:
        self.tally = tally
        self.throttle = Throttle(wishes.concurrency)
        self.budget = budget
        self.stopped_by: APIMasterError | None = None
        self.limited = False
        self._wishes = wishes
        self._submits = min(SUBMITS[1], max(SUBMITS[0], wishes.concurrency // 8))
        self._journal = journal
        self._on_end = on_end
        self._tools = Tools(client, directory, journal, wishes.timeout, self._moved, self._submit_over)
        self._upcoming = Upcoming(journal)
        self._running: set[asyncio.Task[None]] = set()
        self._submitting: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._halted = False
        self._crash: BaseException | None = None
        self._answered = False
        self._refused_since: float | None = None
        self._faults_in_a_row = 0

    def halt(self) -> None:
        """Submit nothing more, write down what is under way, and come back."""
        self._halted = True
        self._changed.set()

    @property
    def halted(self) -> bool:
        """Whether ``halt`` was called."""
        return self._halted

    async def run(self) -> None:
        """Come back when every image ended, or as much of it as can be done now.

        Raises:
            LedgerError: the ledger can't be written any more.
        """
        try:
            while not self._halted and self._crash is None:
                self._changed.clear()
                started, wait = await self._start_one()
                if started:
                    continue
                if wait is None and not self._running:
                    break
                await self._pause(wait)
            while self._submitting and self._crash is None:  # each answer holds a task id: worth waiting for
                self._changed.clear()
                await self._changed.wait()
        finally:
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)
        if self._crash is not None:
            raise self._crash
        if self.limited and self.stopped_by is None and not self._halted:
            self.stopped_by = BudgetExceededError(
                f"The limit is reached: {self.tally.counts['planned']} image(s) were not submitted. "
                "Raise the limit and run it again."
            )

    async def _pause(self, seconds: float | None) -> None:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._changed.wait(), seconds)

    # --- what goes next -------------------------------------------------------------------------------

    async def _start_one(self) -> tuple[bool, float | None]:
        """Start one image, if one may start: whether it did, and else for how long to wait (None: for a change)."""
        if len(self._running) >= self._wishes.concurrency:
            return False, None
        paid = await self._upcoming.paid()
        if paid is not None:
            self._spawn(self._work(paid))
            return True, None
        if self.stopped_by is not None or self._halted:
            return False, None
        if len(self._running) >= self.throttle.ceiling or len(self._submitting) >= self._submits:
            return False, None
        now = time.monotonic()
        pause = self.throttle.pause(now)
        if pause > 0:
            return False, pause
        job, wait = await self._upcoming.planned(now)
        if job is None:
            return False, wait
        if not self.budget.reserve(job.item.price):
            # What is under way may still be refunded, and then it fits.
            self._upcoming.hold(job)
            self.limited = True
            return False, None
        self.limited = False
        task = self._spawn(self._work(job))
        self._submitting.add(task)
        job.submitting = task
        return True, None

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._submitting.discard(task)
        if not task.cancelled() and task.exception() is not None and self._crash is None:
            self._crash = task.exception()
        self._changed.set()

    # --- what becomes of it ---------------------------------------------------------------------------

    async def _work(self, job: Job) -> None:
        verdict, error = await job.run(self._tools)
        if error is not None:
            await self._judge(job, verdict, error)
        if job.item.state != "planned":
            self._on_end(job.item)

    async def _judge(self, job: Job, verdict: Verdict, error: APIMasterError) -> None:
        """Write down what an error made of an image, and let the others know."""
        if verdict == "again":
            job.tries += 1
            self._faults_in_a_row += 1
            if self._faults_in_a_row >= _FAULTS_IN_A_ROW:
                self._stop(error)
            elif job.tries > self._tools.retries:
                verdict = "failed"
        if verdict == "stop":
            self._stop(error)
        if job.item.state == "submitting" and error.billed != "no":
            verdict = "unknown"  # for instance a picture that came with the answer and could not be written
        if verdict in ("failed", "unknown"):
            await job.end(self._tools, verdict, error)
        elif job.item.state == "submitting":  # nothing was charged, and it may be sent again
            await job.put_back(self._tools, error)
        else:
            await job.keep(self._tools, error)
        if job.item.state in ("planned", "failed"):
            self.budget.give_back(job.item.price)
        if job.item.state == "planned":
            self._put_off(job, verdict, error)

    def _put_off(self, job: Job, verdict: Verdict, error: APIMasterError) -> None:
        now = time.monotonic()
        ready = now + self._tools.pause(job.tries) if verdict == "again" else now
        if verdict in ("crowded", "unreachable"):
            asked = getattr(error, "retry_after", None)
            self.throttle.refused(now, len(self._running) - 1, asked, crowded=verdict == "crowded")
            self._refused_since = self._refused_since or now
            never = not self._answered and verdict == "unreachable" and self.throttle.refusals >= _GIVE_UP_AT_START
            if never or now - self._refused_since > PATIENCE or (asked or 0.0) > PATIENCE:
                self._stop(error)
        self._upcoming.put_off(job, ready)

    def _stop(self, error: APIMasterError) -> None:
        if self.stopped_by is None:
            self.stopped_by = error

    # --- told by the jobs -----------------------------------------------------------------------------

    def _submit_over(self, job: Job, accepted: bool) -> None:
        """The submit of ``job`` was answered and its answer is on disk."""
        if job.submitting is not None:
            self._submitting.discard(job.submitting)
        if accepted:
            self._answered = True
            self._refused_since = None
            self._faults_in_a_row = 0
            self.throttle.accepted()
        self._changed.set()

    def _moved(self, job: Job, before: BatchItem) -> None:
        self.tally.move(before.state, job.item.state, job.item.price, time.monotonic())
