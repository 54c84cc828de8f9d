"""One run of a batch on an event loop: puts folder, runner and outputs together.

A caller iterates ``AsyncRun``. The run goes on by itself between two items. Leaving early (``aclose``, or ``break`` in
an ``async with``) stops it gently: it submits nothing more, and records what is under way.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from ..errors import APIMasterError
from .batch_folder import BatchFolder
from .image_list import PlannedImage
from .items import BatchItem
from .options import RunOptions
from .outputs import Outputs
from .place import Place
from .plan import Plan
from .runner import Runner
from .settling import StartSettling
from .tally import Tally

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from .. import AsyncAPIMaster
    from ..ledger import Settlement

OnItem = Callable[[BatchItem], object]


class AsyncRun:
    """A run of a batch: iterate it for the images as they end.

    Images that ended in an earlier run come first. After the last image, the iteration raises the error that stopped
    the run early, if there was one: no balance, no valid key, a limit that was reached.
    """

    def __init__(
        self,
        client: AsyncAPIMaster,
        place: Place,
        images: Sequence[PlannedImage] | None,
        options: RunOptions,
        on_item: OnItem | None = None,
    ) -> None:
        self._client = client
        self._folder = BatchFolder(place, images, options)
        self._options = options
        self._on_item = on_item
        self._ready: deque[BatchItem] = deque()
        self._new_items = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._iterator: AsyncIterator[BatchItem] | None = None
        self._runner: Runner | None = None
        self._settling = StartSettling(client)
        self._settlement: Settlement | None = None
        self._halted = False
        self._begun = asyncio.Event()
        self._own: set[str] = set()

    # --- for a caller ---------------------------------------------------------------------------------

    async def plan(self) -> Plan:
        """What the run will do and cost. Writes nothing and sends nothing.

        Raises:
            BadRequestError: there is nothing to resume, an image contradicts the ledger, or a limit can't be kept.
        """
        return await self._folder.plan(self._client.base_url)

    @property
    def tally(self) -> Tally | None:
        """Counts, money and speed so far; None before the run has begun."""
        return None if self._runner is None else self._runner.tally

    @property
    def settlement(self) -> Settlement | None:
        """What the usage log told of images that were unknown when the run began; None until it was asked."""
        return self._settlement

    @property
    def runner(self) -> Runner | None:
        """What submits, waits and downloads; None before the run has begun."""
        return self._runner

    @property
    def stopped_by(self) -> APIMasterError | None:
        """The error that ended the submits early, if there was one."""
        return None if self._runner is None else self._runner.stopped_by

    @property
    def halted(self) -> bool:
        """Whether ``halt`` or ``abort`` was called."""
        return self._halted

    async def begun(self) -> None:
        """Wait until the run goes on: from then on there is a tally."""
        await self._begun.wait()

    def halt(self) -> None:
        """Submit nothing more, record what is under way, and end the iteration."""
        self._halted = True
        self._settling.stop()
        if self._runner is not None:
            self._runner.halt()

    def abort(self) -> None:
        """End now; submits that are on the wire become unknown."""
        self._halted = True
        if self._task is not None:
            self._task.cancel()

    async def finish(self) -> None:
        """Run to the end, without the images one by one.

        Raises:
            APIMasterError: what stopped the run early.
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
        """Stop gently and wait for the end. A second call does no harm."""
        if self._task is not None and not self._task.done():
            self.halt()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)
        await self._folder.__aexit__(None, None, None)

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
                async for item in self._ended(lambda item: (item.finished_at or 0.0) < started.result()):
                    yield item
            while not self._task.done() or self._ready:
                while self._ready:
                    yield self._ready.popleft()
                self._new_items.clear()
                if not self._task.done():
                    await self._new_items.wait()
            await self._task
            if not self._halted:  # what other processes have made meanwhile
                begun, own = started.result(), self._own
                async for item in self._ended(lambda item: (item.finished_at or 0.0) >= begun and item.id not in own):
                    yield item
            if self.stopped_by is not None and not self._halted:
                raise self.stopped_by
        finally:
            await self.aclose()

    async def _ended(self, wanted: Callable[[BatchItem], bool]) -> AsyncIterator[BatchItem]:
        """The listed images that have ended and are wanted, read apart from the run."""
        with contextlib.ExitStack() as stack:
            batch = await asyncio.to_thread(lambda: stack.enter_context(self._folder.place.reading()))
            pages = batch.ended()
            while (page := await asyncio.to_thread(next, pages, None)) is not None:
                for item in filter(wanted, page):
                    yield item

    async def _run(self, started: asyncio.Future[float]) -> None:
        try:
            async with self._folder as folder:
                await folder.begin(self._client.base_url)
                if not self._halted:
                    self._settlement = await self._settling.settle(folder.batch, folder.ledger)
                settled = self._settlement.not_charged if self._settlement is not None else ()
                plan = await folder.retry_unknown((purchase.key for purchase in settled), halted=self._halted)
                begun = await asyncio.to_thread(folder.batch.now)
                outputs = Outputs(folder.place)
                self._runner = Runner(
                    self._client,
                    folder.directory,
                    folder.batch,
                    folder.ledger,
                    limit=plan.terms.max_cost,
                    tally=Tally(plan.sums, time.monotonic()),
                    options=self._options,
                    on_end=partial(self._item_ended, outputs),
                )
                if self._halted:
                    self._runner.halt()
                started.set_result(begun)
                self._begun.set()
                try:
                    async with outputs:
                        await self._runner.run()
                finally:
                    await asyncio.to_thread(outputs.write)
        finally:
            self._new_items.set()

    def _item_ended(self, outputs: Outputs, item: BatchItem) -> None:
        outputs.add_saved(item)
        self._own.add(item.id)
        if self._on_item is not None:
            self._on_item(item)
        self._ready.append(item)
        self._new_items.set()
