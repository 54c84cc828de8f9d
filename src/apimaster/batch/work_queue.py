"""Which image goes next: one that is paid for, one that waits for its retry, or a planned one.

Other processes may work on the same batch. So this one takes some images at a time in the ledger before it begins them;
what another one has taken is left out.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING, Final

from ..ledger.rows import Row
from ..ledger.schema import PageKey
from ..ledger.steps import Take
from .image_job import ImageJob
from .items import BatchItem
from .ledger import BatchLedger

if TYPE_CHECKING:
    from ..ledger import Ledger

LOOK_AGAIN: Final = 15.0
"""Seconds after which the queue looks again for what other processes left: they may have been killed."""

LOOK_SECONDS: Final = 0.5
"""Between two looks at what other processes do, when this one has nothing left to do."""

_Read = Callable[["PageKey | None"], "tuple[list[BatchItem], PageKey | None]"]


class _Source:
    """Reads images some at a time, so that ten thousand requests are never in memory at once, and takes them.

    Args:
        ledger: where to take them.
        batch: for the keys.
        read: reads the next page.
        at_once: how many to take together.
    """

    def __init__(self, ledger: Ledger, batch: BatchLedger, read: _Read, at_once: int) -> None:
        self._ledger = ledger
        self._batch = batch
        self._read = read
        self._at_once = at_once
        self._page: deque[BatchItem] = deque()
        self._after: PageKey | None = None
        self._ended = False
        self._looked = time.monotonic()
        self.taken: deque[ImageJob] = deque()

    def look_again(self) -> None:
        """Start over from the beginning, at the next ``next``."""
        self._page.clear()
        self._after, self._ended = None, False

    async def next(self, done: set[str]) -> ImageJob | None:
        """The next image, taken; None if there is none. Those with the ids in ``done`` are left out."""
        if self._ended and time.monotonic() - self._looked > LOOK_AGAIN:
            self.look_again()
        while not self.taken:
            if not self._page:
                if self._ended:
                    return None
                self._looked = time.monotonic()
                items, self._after = await asyncio.to_thread(self._read, self._after)
                self._page.extend(item for item in items if item.id not in done)
                self._ended = self._after is None
                continue
            some = [self._page.popleft() for _ in range(min(self._at_once, len(self._page)))]
            steps = [Take(key=self._batch.key(item.id)) for item in some]
            rows = await asyncio.gather(*[asyncio.wrap_future(self._ledger.take(step)) for step in steps])
            self.taken.extend(job_of(item, row) for item, row in zip(some, rows, strict=True) if row is not None)
        return self.taken.popleft()


def job_of(item: BatchItem, row: Row) -> ImageJob:
    """The job of an image that was taken."""
    return ImageJob(item.changed(attempts=row.attempts, sunk=row.sunk), row.key, row.claim)


class WorkQueue:
    """The images of a run that have not begun.

    Args:
        batch: the batch.
        ledger: its ledger.
        at_once: how many images to take together: as many as may be submitting at once.
    """

    def __init__(self, batch: BatchLedger, ledger: Ledger, at_once: int) -> None:
        self._batch = batch
        self._ledger = ledger
        self._paid = _Source(ledger, batch, batch.under_way, at_once)
        self._planned = _Source(ledger, batch, batch.planned, at_once)
        self._postponed: list[tuple[float, int, ImageJob]] = []
        self._order = count()
        self._first: deque[ImageJob] = deque()
        self.done: set[str] = set()
        """The ids of images that this run leaves as they are, although they are not saved."""

    async def next_paid(self) -> ImageJob | None:
        """The next image that is paid for and nobody's, to be collected."""
        return await self._paid.next(self.done)

    async def next_planned(self, now: float) -> tuple[ImageJob | None, float | None]:
        """The next image to submit; else the seconds until there is one (None: there is none left)."""
        if self._first:
            return self._first.popleft(), None
        while self._postponed and self._postponed[0][0] <= now:
            job = heapq.heappop(self._postponed)[2]
            if job.claim is not None or await job.take(self._ledger):
                return job, None
        job_or_none = await self._planned.next(self.done)
        if job_or_none is not None:
            return job_or_none, None
        return None, self._postponed[0][0] - now if self._postponed else None

    async def look_again(self) -> float | None:
        """Look for images that others have left: seconds after which there may be one to begin.

        None: all that is left has ended, for this run at least.
        """
        await asyncio.wrap_future(self._ledger.start_reaping())
        free, others = await asyncio.to_thread(self._batch.is_anything_open, self.done)
        if free:
            self._paid.look_again()
            self._planned.look_again()
            return 0.0
        return LOOK_SECONDS if others else None

    def put_first(self, job: ImageJob) -> None:
        """Return an image that does not fit into the limits now; it goes first the next time."""
        self._first.append(job)

    def postpone(self, job: ImageJob, until: float) -> None:
        """Submit this image again, but not before ``until`` (monotonic seconds)."""
        heapq.heappush(self._postponed, (until, next(self._order), job))

    def not_begun(self) -> list[ImageJob]:
        """What was taken and has not begun: others may have it when this run ends."""
        return [*self._first, *self._paid.taken, *self._planned.taken, *(job for _, _, job in self._postponed)]
