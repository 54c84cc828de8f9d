"""A run for blocking code: the asyncio one, on an event loop of its own thread, passed on through a queue."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from .items import BatchItem
from .lines import Line
from .plan import Plan, Terms
from .run import AsyncRun
from .runner import Wishes

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from .. import APIMaster, AsyncAPIMaster


class BatchRun:
    """A run for blocking code. It starts with the first look and goes on by itself between two looks.

    Leaving early (``close``, or the end of a ``with``) submits nothing more and writes down what is under way; so does
    Ctrl-C, and a second Ctrl-C ends it at once.
    """

    def __init__(
        self, client: APIMaster, directory: Path, lines: list[Line] | None, terms: Terms, wishes: Wishes
    ) -> None:
        self._client = client
        self._directory, self._lines, self._terms, self._wishes = directory, lines, terms, wishes
        self._ready: queue.SimpleQueue[BatchItem | _End] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._run: AsyncRun | None = None
        self._closed = False

    def plan(self) -> Plan:
        """What the run will do and cost; nothing is written and nothing sent. See ``AsyncRun.plan``."""

        async def look() -> Plan:
            async with self._client.as_async() as twin, self._make(twin) as run:
                return await run.plan()

        return asyncio.run(look())

    def finish(self) -> None:
        """Run to the end without looking at the images one by one.

        Raises:
            APIMasterError: what stopped it early.
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
            found = self._ready.get()
        except KeyboardInterrupt:
            self.close()
            raise
        if not isinstance(found, _End):
            return found
        self._closed = True
        self._thread.join()
        if found.error is not None:
            raise found.error
        raise StopIteration

    def close(self) -> None:
        """Submit nothing more, write down what is under way, and wait for that. Closing twice does no harm."""
        self._closed = True
        if self._thread is None:
            return
        self._tell(AsyncRun.halt)
        try:
            self._thread.join()
        except KeyboardInterrupt:
            self._tell(AsyncRun.abort)
            self._thread.join()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _make(self, twin: AsyncAPIMaster) -> AsyncRun:
        return AsyncRun(twin, self._directory, self._lines, self._terms, self._wishes)

    def _tell(self, what: Callable[[AsyncRun], None]) -> None:
        loop, run = self._loop, self._run
        if loop is not None and run is not None and not loop.is_closed():
            loop.call_soon_threadsafe(what, run)

    def _work(self) -> None:
        error: BaseException | None = None
        try:
            asyncio.run(self._pass_on())
        except BaseException as cause:  # noqa: BLE001 -- it belongs to whoever iterates
            error = cause
        self._ready.put(_End(error))

    async def _pass_on(self) -> None:
        async with self._client.as_async() as twin, self._make(twin) as run:
            self._loop, self._run = asyncio.get_running_loop(), run
            if self._closed:
                run.halt()
            async for item in run:
                self._ready.put(item)


class _End:
    def __init__(self, error: BaseException | None) -> None:
        self.error = error
