"""What goes next: what is paid for, what was put off, what is planned. Rows are read a page at a time."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from .items import BatchItem
from .job import Job
from .journal import Journal
from .ledger import Ledger


@dataclass(slots=True)
class _Pages:
    """Walks through rows of the ledger, a page at a time, so that ten thousand requests are never in memory."""

    journal: Journal
    read: Callable[[Ledger, int], list[tuple[int, BatchItem]]]
    after: int = 0
    rows: list[tuple[int, BatchItem]] = field(default_factory=list)
    ended: bool = False

    async def next(self) -> BatchItem | None:
        if not self.rows and not self.ended:
            self.rows = (await self.journal.ask(lambda ledger: self.read(ledger, self.after)))[::-1]
            self.ended = not self.rows
            self.after = self.rows[0][0] if self.rows else self.after
        return self.rows.pop()[1] if self.rows else None


class Upcoming:
    """The images of a run that have not begun.

    Args:
        journal: the ledger, open.
    """

    def __init__(self, journal: Journal) -> None:
        self._paid = _Pages(journal, Ledger.under_way)
        self._planned = _Pages(journal, Ledger.planned)
        self._later: list[tuple[float, int, Job]] = []
        self._order = count()
        self._held: Job | None = None

    async def paid(self) -> Job | None:
        """The next image that is paid for already and is to be collected."""
        item = await self._paid.next()
        return None if item is None else Job(item)

    async def planned(self, now: float) -> tuple[Job | None, float | None]:
        """The next image to be submitted; else in how many seconds there is one (None: there is none left)."""
        if self._held is not None:
            job, self._held = self._held, None
            return job, None
        if self._later and self._later[0][0] <= now:
            return heapq.heappop(self._later)[2], None
        item = await self._planned.next()
        if item is not None:
            return Job(item), None
        return None, self._later[0][0] - now if self._later else None

    def hold(self, job: Job) -> None:
        """This one goes first the next time: it did not fit into the limits."""
        self._held = job

    def put_off(self, job: Job, ready: float) -> None:
        """This one may be submitted again from ``ready`` (monotonic seconds) on."""
        heapq.heappush(self._later, (ready, next(self._order), job))
