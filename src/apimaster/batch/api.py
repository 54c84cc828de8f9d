"""Batches from Python: ``Batch`` for blocking code, ``AsyncBatch`` for asyncio. One logic, on an event loop."""

from __future__ import annotations

import asyncio
import os
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ..errors import BadRequestError
from .items import BatchItem
from .lines import Entry, Line, Reader
from .plan import Plan, Terms, read_terms
from .run import AsyncRun, items_in
from .runner import Wishes
from .twins import on_asyncio

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from .. import APIMaster, AsyncAPIMaster

T = TypeVar("T")


class AsyncBatch:
    """Many images into one folder, with a ledger of what was paid for.

    Args:
        client: the client that submits, polls and downloads; it stays open.
        directory: the batch's folder: ``ledger.db``, ``images/``, ``manifest.jsonl``, ``index.html``.
        concurrency: images under way at once, at most; fewer where the gateway refuses.
        timeout: seconds for one image, waiting included; None: by resolution.

    Raises:
        BadRequestError: an argument is not accepted.
    """

    def __init__(
        self,
        client: AsyncAPIMaster,
        directory: str | os.PathLike[str],
        *,
        concurrency: int = 32,
        timeout: float | None = None,
    ) -> None:
        self._client = client
        self._directory = Path(directory)
        self._wishes = check_wishes(concurrency, timeout)

    @property
    def directory(self) -> Path:
        """The batch's folder."""
        return self._directory

    def run(
        self,
        requests: Iterable[Entry] | None = None,
        *,
        max_cost: Decimal | int | str | float | None = None,
        max_images: int | None = None,
        retry_failed: bool = False,
        retry_unknown: bool = False,
    ) -> AsyncRun:
        """Make the pictures: iterate the result for the images as they end, in any order.

        Nothing is sent before the first look. Use it in ``async with`` where you may leave early. Requests that this
        folder has already are not made again: their images come first.

        Args:
            requests: prompts, ``ImageRequest`` objects, or mappings of their fields with an optional ``id`` and
                ``tags``; None resumes what the folder lists.
            max_cost: US dollars that may be spent in this folder, over all runs; None: as in the last run.
            max_images: images that may be paid for in this folder, over all runs; None: as in the last run.
            retry_failed: try failed images again; they cost nothing so far.
            retry_unknown: try unknown images again: each may be charged a second time.

        Raises:
            InvalidLines: some requests can't be used; all faults are listed.
            BadRequestError: a limit is not one.

        The iteration raises what stopped it early: ``InsufficientBalanceError``, ``AuthenticationError``,
        ``BudgetExceededError`` and so on; by then everything that was paid for has been collected.
        """
        terms = read_terms(max_cost, max_images, retry_failed=retry_failed, retry_unknown=retry_unknown)
        return AsyncRun(self._client, self._directory, _lines(self._client.model, requests), terms, self._wishes)

    def items(self) -> Iterator[BatchItem]:
        """All images of the folder as they stand, from the ledger. Blocking, but only for the disk.

        Raises:
            BadRequestError: there is no batch in the folder.
        """
        return items_in(self._directory)


class Batch:
    """The same for blocking code: see ``AsyncBatch``. The work is done on an event loop of its own thread."""

    def __init__(
        self,
        client: APIMaster,
        directory: str | os.PathLike[str],
        *,
        concurrency: int = 32,
        timeout: float | None = None,
    ) -> None:
        on_asyncio(client)  # says now if that can't be done
        self._client = client
        self._directory = Path(directory)
        self._wishes = check_wishes(concurrency, timeout)

    @property
    def directory(self) -> Path:
        """The batch's folder."""
        return self._directory

    def run(
        self,
        requests: Iterable[Entry] | None = None,
        *,
        max_cost: Decimal | int | str | float | None = None,
        max_images: int | None = None,
        retry_failed: bool = False,
        retry_unknown: bool = False,
    ) -> BatchRun:
        """Make the pictures: iterate the result for the images as they end. See ``AsyncBatch.run``."""
        terms = read_terms(max_cost, max_images, retry_failed=retry_failed, retry_unknown=retry_unknown)
        return BatchRun(self._client, self._directory, _lines(self._client.model, requests), terms, self._wishes)

    def items(self) -> Iterator[BatchItem]:
        """All images of the folder as they stand, from the ledger.

        Raises:
            BadRequestError: there is no batch in the folder.
        """
        return items_in(self._directory)


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
            async with on_asyncio(self._client) as twin, self._make(twin) as run:
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
        async with on_asyncio(self._client) as twin, self._make(twin) as run:
            self._loop, self._run = asyncio.get_running_loop(), run
            if self._closed:
                run.halt()
            async for item in run:
                self._ready.put(item)


class _End:
    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def _lines(model: str, requests: Iterable[Entry] | None) -> list[Line] | None:
    if requests is None:
        return None
    if isinstance(requests, (str, dict)):
        raise BadRequestError("requests must be a list of prompts or requests, not a single one")
    reader = Reader({"model": model})
    for number, entry in enumerate(requests, start=1):
        reader.add(number, entry)
    return reader.finish()


def check_wishes(concurrency: int, timeout: float | None) -> Wishes:
    """Checked wishes.

    Raises:
        BadRequestError: one is not accepted.
    """
    if isinstance(concurrency, bool) or not isinstance(concurrency, int) or concurrency < 1:
        raise BadRequestError(f"concurrency must be a whole number, 1 or more, not {concurrency!r}")
    return Wishes(concurrency, timeout)
