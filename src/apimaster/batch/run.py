"""One run of a batch on an event loop: the session, the runner, and what both leave behind, put together.

``AsyncRun`` is what a caller iterates. The work goes on by itself between two looks; leaving early (``aclose``,
``break`` in an ``async with``) stops it the gentle way: nothing more is submitted, and what is under way is
written down.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import APIMasterError
from .items import BatchItem
from .ledger import Ledger
from .lines import Line
from .outputs import Outputs
from .plan import Plan, Terms
from .runner import Runner, Wishes
from .session import Session
from .tally import Tally

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from .. import AsyncAPIMaster

OnItem = Callable[[BatchItem], object]


class AsyncRun:
    """A run that is going on, or about to: iterate it for the images as they end.

    Images that ended in an earlier run come first. When all have come, the iteration raises what stopped the run
    early, if anything did: no balance, no valid key, a limit that was reached.
    """

    def __init__(
        self,
        client: AsyncAPIMaster,
        directory: Path,
        lines: Sequence[Line] | None,
        terms: Terms,
        wishes: Wishes,
        on_item: OnItem | None = None,
    ) -> None:
        self._client = client
        self._session = Session(directory, lines, terms)
        self._wishes = wishes
        self._on_item = on_item
        self._ready: deque[BatchItem] = deque()
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._iterator: AsyncIterator[BatchItem] | None = None
        self._runner: Runner | None = None
        self._halted = False
        self._begun = asyncio.Event()

    # --- for a caller ---------------------------------------------------------------------------------

    async def plan(self) -> Plan:
        """What the run will do and cost; nothing is written and nothing sent.

        Raises:
            BadRequestError: there is nothing to resume, a line contradicts the ledger, or a limit can't be kept.
            DirectoryLocked: another process works in the folder.
        """
        return await self._session.plan()

    @property
    def tally(self) -> Tally | None:
        """How it stands: counts, money, speed; None before it has begun."""
        return None if self._runner is None else self._runner.tally

    @property
    def runner(self) -> Runner | None:
        """What runs it; None before it has begun."""
        return self._runner

    @property
    def stopped_by(self) -> APIMasterError | None:
        """What ended the submitting early, if anything did."""
        return None if self._runner is None else self._runner.stopped_by

    @property
    def halted(self) -> bool:
        """Whether it was asked to stop."""
        return self._halted

    async def begun(self) -> None:
        """Wait until it is going on: from then on there is a tally."""
        await self._begun.wait()

    def halt(self) -> None:
        """Submit nothing more, write down what is under way, and end the iteration."""
        self._halted = True
        if self._runner is not None:
            self._runner.halt()

    def abort(self) -> None:
        """End now; submits that are on the wire become unknown."""
        self._halted = True
        if self._task is not None:
            self._task.cancel()

    async def finish(self) -> None:
        """Run to the end without looking at the images one by one.

        Raises:
            APIMasterError: what stopped it early.
        """
        async for _ in self:
            pass

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> BatchItem:
        if self._iterator is None:
            self._iterator = self._iterate()
        return await self._iterator.__anext__()

    async def aclose(self) -> None:
        """Stop the gentle way and wait for it. Closing twice does no harm."""
        if self._task is not None and not self._task.done():
            self.halt()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)
        await self._session.__aexit__(None, None, None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    # --- inside ---------------------------------------------------------------------------------------

    async def _iterate(self) -> AsyncIterator[BatchItem]:
        started = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run(started))
        try:
            await asyncio.wait({self._task, started}, return_when=asyncio.FIRST_COMPLETED)
            if started.done():
                async for item in self._earlier(started.result()):
                    yield item
            while not self._task.done() or self._ready:
                while self._ready:
                    yield self._ready.popleft()
                self._news.clear()
                if not self._task.done():
                    await self._news.wait()
            await self._task
            if self.stopped_by is not None and not self._halted:
                raise self.stopped_by
        finally:
            await self.aclose()

    async def _earlier(self, begun: float) -> AsyncIterator[BatchItem]:
        """Images that had ended before this run began (unix time), page by page, by a connection of their own."""
        ledger = await asyncio.to_thread(Ledger.look, self._session.directory)
        try:
            after = 0
            while rows := await asyncio.to_thread(ledger.ended, after):
                after = rows[-1][0]
                for _, item in rows:
                    if (item.finished_at or 0.0) < begun:
                        yield item
        finally:
            await asyncio.to_thread(ledger.close)

    async def _run(self, started: asyncio.Future[float]) -> None:
        try:
            async with self._session as session:
                plan = await session.begin(self._client.base_url)
                outputs = Outputs(session.directory)
                self._runner = Runner(
                    self._client,
                    session.directory,
                    session.journal,
                    budget=session.budget(plan),
                    tally=Tally(plan.sums, time.monotonic()),
                    wishes=self._wishes,
                    on_end=partial(self._ended, outputs),
                )
                if self._halted:
                    self._runner.halt()
                started.set_result(time.time())
                self._begun.set()
                try:
                    async with outputs:
                        await self._runner.run()
                finally:
                    await asyncio.to_thread(outputs.write)
        finally:
            self._news.set()

    def _ended(self, outputs: Outputs, item: BatchItem) -> None:
        outputs.saved(item)
        if self._on_item is not None:
            self._on_item(item)
        self._ready.append(item)
        self._news.set()


def items_in(directory: Path) -> Iterator[BatchItem]:
    """All images of a folder, in order. Another process may be running the batch meanwhile."""
    ledger = Ledger.look(directory)
    try:
        yield from ledger.items()
    finally:
        ledger.close()
