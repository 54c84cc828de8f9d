"""Which image goes next: one that is paid for, one that waits for its retry, or a planned one."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from .image_job import ImageJob
from .items import BatchItem
from .ledger import BatchLedger
from .ledger_writer import LedgerWriter


@dataclass(slots=True)
class _RowReader:
    """Walks through rows of the ledger, some at a time, so that ten thousand requests are never in memory at once."""

    ledger: LedgerWriter
    read: Callable[[BatchLedger, int], list[tuple[int, BatchItem]]]
    after: int = 0
    rows: list[tuple[int, BatchItem]] = field(default_factory=list)
    ended: bool = False

    async def next(self) -> BatchItem | None:
        if not self.rows and not self.ended:
            self.rows = (await self.ledger.query(lambda ledger: self.read(ledger, self.after)))[::-1]
            self.ended = not self.rows
            self.after = self.rows[0][0] if self.rows else self.after
        return self.rows.pop()[1] if self.rows else None


class WorkQueue:
    """The images of a run that have not begun.

    Args:
        ledger: the folder's ledger, open.
    """

    def __init__(self, ledger: LedgerWriter) -> None:
        self._paid = _RowReader(ledger, BatchLedger.under_way)
        self._planned = _RowReader(ledger, BatchLedger.planned)
        self._postponed: list[tuple[float, int, ImageJob]] = []
        self._order = count()
        self._first: ImageJob | None = None

    async def next_paid(self) -> ImageJob | None:
        """The next image that an earlier run paid for, to be collected."""
        item = await self._paid.next()
        return None if item is None else ImageJob(item)

    async def next_planned(self, now: float) -> tuple[ImageJob | None, float | None]:
        """The next image to submit; else the seconds until there is one (None: there is none left)."""
        if self._first is not None:
            job, self._first = self._first, None
            return job, None
        if self._postponed and self._postponed[0][0] <= now:
            return heapq.heappop(self._postponed)[2], None
        item = await self._planned.next()
        if item is not None:
            return ImageJob(item), None
        return None, self._postponed[0][0] - now if self._postponed else None

    def put_first(self, job: ImageJob) -> None:
        """Return an image that does not fit into the limits now; it goes first the next time."""
        self._first = job

    def postpone(self, job: ImageJob, until: float) -> None:
        """Submit this image again, but not before ``until`` (monotonic seconds)."""
        heapq.heappush(self._postponed, (until, next(self._order), job))
