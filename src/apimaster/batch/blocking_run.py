"""A run for blocking code: an asyncio run on an event loop of its own thread, with a queue in between."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from .async_run import AsyncRun
from .image_list import PlannedImage
from .items import BatchItem
from .options import RunOptions
from .place import Place
from .plan import Plan

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from .. import APIMaster, AsyncAPIMaster
    from ..ledger import Settlement


class BatchRun:
    """A run for blocking code. It starts with the first item and goes on by itself between two items.

    Leaving early (``close``, or the end of a ``with``) submits nothing more and records what is under way. Ctrl-C does
    the same; a second Ctrl-C ends the run at once.
    """

    def __init__(self, client: APIMaster, place: Place, images: list[PlannedImage] | None, options: RunOptions) -> None:
        self._client = client
        self._place, self._images, self._options = place, images, options
        self._ready: queue.SimpleQueue[BatchItem | _End] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._run: AsyncRun | None = None
        self._closed = False

    def plan(self) -> Plan:
        """What the run will do and cost. Writes nothing and sends nothing. See ``AsyncRun.plan``."""

        async def plan() -> Plan:
            async with self._client.as_async() as client, self._async_run(client) as run:
                return await run.plan()

        return asyncio.run(plan())

    @property
    def settlement(self) -> Settlement | None:
        """What the usage log told of images that were unknown when the run began; None until it was asked."""
        return None if self._run is None else self._run.settlement

    def finish(self) -> None:
        """Run to the end, without the images one by one.

        Raises:
            APIMasterError: what stopped the run early.
        """
        for _ in self:
            pass

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> BatchItem:
        if self._closed:
            raise StopIteration
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="apimaster-batch", daemon=True)
            self._thread.start()
        try:
            ready = self._ready.get()
        except KeyboardInterrupt:
            self.close()
            raise
        if not isinstance(ready, _End):
            return ready
        self._closed = True
        self._thread.join()
        if ready.error is not None:
            raise ready.error
        raise StopIteration

    def close(self) -> None:
        """Submit nothing more, record what is under way, and wait for that. A second call does no harm."""
        self._closed = True
        if self._thread is None:
            return
        self._call_in_loop(AsyncRun.halt)
        try:
            self._thread.join()
        except KeyboardInterrupt:
            self._call_in_loop(AsyncRun.abort)
            self._thread.join()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _async_run(self, client: AsyncAPIMaster) -> AsyncRun:
        return AsyncRun(client, self._place, self._images, self._options)

    def _call_in_loop(self, method: Callable[[AsyncRun], None]) -> None:
        loop, run = self._loop, self._run
        if loop is not None and run is not None and not loop.is_closed():
            loop.call_soon_threadsafe(method, run)

    def _work(self) -> None:
        error: BaseException | None = None
        try:
            asyncio.run(self._forward_items())
        except BaseException as cause:  # noqa: BLE001 -- ``__next__`` raises it
            error = cause
        self._ready.put(_End(error))

    async def _forward_items(self) -> None:
        async with self._client.as_async() as client, self._async_run(client) as run:
            self._loop, self._run = asyncio.get_running_loop(), run
            if self._closed:
                run.halt()
            async for item in run:
                self._ready.put(item)


class _End:
    def __init__(self, error: BaseException | None) -> None:
        self.error = error
