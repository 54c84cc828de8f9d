"""Batches from Python: ``Batch`` for blocking code, ``AsyncBatch`` for asyncio. One logic, on an event loop."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import BadRequestError
from .blocking import BatchRun
from .items import BatchItem
from .lines import Entry, Line, Reader
from .plan import read_terms
from .run import AsyncRun, items_in
from .runner import Wishes

if TYPE_CHECKING:
    from .. import APIMaster, AsyncAPIMaster


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
        client.as_async()  # says now if that can't be done; it opens nothing
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
