"""Batches from Python: ``Batch`` for blocking code, ``AsyncBatch`` for asyncio. Both run the same code on an event
loop."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import BadRequestError
from .async_run import AsyncRun
from .blocking_run import BatchRun
from .image_list import Entry, ImageListBuilder, PlannedImage
from .items import BatchItem
from .options import check_options
from .place import place_of

if TYPE_CHECKING:
    from .. import APIMaster, AsyncAPIMaster
    from ..ledger import Ledger


class AsyncBatch:
    """Many images into one folder, with a ledger of what was paid for.

    Several processes may run the same batch at once: they divide its images between them.

    Args:
        client: the client that submits, polls and downloads; it stays open.
        directory: the batch's folder: ``ledger.db``, ``images/``, ``manifest.jsonl``, ``index.html``.
        concurrency: images under way at once, at most; fewer while the gateway refuses.
        timeout: seconds for one image, waiting included; None: by resolution.
        ledger: a ledger that several batches share, or its path or URL; the folder remembers it. None: the client's,
            else the folder's own ``ledger.db``. A folder that has begun with one ledger keeps it.
        name: the batch's name: its keys in the ledger are ``name/id``. None: the folder's name at its first run.

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
        ledger: Ledger | str | os.PathLike[str] | None = None,
        name: str | None = None,
    ) -> None:
        self._client = client
        self._directory = Path(directory)
        self._place = place_of(self._directory, ledger, client.ledger, name)
        self._options = check_options(concurrency=concurrency, timeout=timeout)

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
        continue_elsewhere: bool = False,
    ) -> AsyncRun:
        """Make the images: iterate the result to get each as it ends, in any order.

        The run sends nothing before you ask for the first image. Use it in ``async with`` if you may leave early. It
        does not make images again that this folder has already: those come first. At its start it asks the usage log
        about unknown images, once: ``settlement`` of the result says what came of it.

        Args:
            requests: prompts, ``ImageRequest`` objects, or mappings of their fields with an optional ``id`` and
                ``tags``; None resumes what the folder lists.
            max_cost: US dollars that this folder may cost, over all runs; None: as in the last run.
            max_images: images that this folder may pay for, over all runs; None: as in the last run.
            retry_failed: try failed images again; they cost nothing so far.
            retry_unknown: try again what is still unknown then: each may be charged a second time.
            continue_elsewhere: go on although the client's base URL is not the one at which this folder was bought.

        Raises:
            InvalidLines: some requests can't be used; the error lists all faults.
            BadRequestError: a limit is not accepted.

        The first step raises ``BadRequestError`` if the folder was bought elsewhere.
        The iteration raises what stopped it early: ``InsufficientBalanceError``, ``AuthenticationError``,
        ``BudgetExceededError`` and so on; by then it has collected everything that was paid for.
        """
        options = check_options(
            concurrency=self._options.concurrency,
            timeout=self._options.timeout,
            max_cost=max_cost,
            max_images=max_images,
            retry_failed=retry_failed,
            retry_unknown=retry_unknown,
            continue_elsewhere=continue_elsewhere,
        )
        return AsyncRun(self._client, self._place, _planned_images(self._client.model, requests), options)

    def items(self) -> Iterator[BatchItem]:
        """All images of the folder, with their states from the ledger. Blocks, but only for the disk.

        Raises:
            BadRequestError: there is no batch in the folder.
        """
        return self._place.items()


class Batch:
    """The same for blocking code: see ``AsyncBatch``. The work happens on an event loop in a thread of its own."""

    def __init__(
        self,
        client: APIMaster,
        directory: str | os.PathLike[str],
        *,
        concurrency: int = 32,
        timeout: float | None = None,
        ledger: Ledger | str | os.PathLike[str] | None = None,
        name: str | None = None,
    ) -> None:
        client.as_async()  # raises now if it can't be done; it opens nothing
        self._client = client
        self._directory = Path(directory)
        self._place = place_of(self._directory, ledger, client.ledger, name)
        self._options = check_options(concurrency=concurrency, timeout=timeout)

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
        continue_elsewhere: bool = False,
    ) -> BatchRun:
        """Make the images: iterate the result to get each as it ends. See ``AsyncBatch.run``."""
        options = check_options(
            concurrency=self._options.concurrency,
            timeout=self._options.timeout,
            max_cost=max_cost,
            max_images=max_images,
            retry_failed=retry_failed,
            retry_unknown=retry_unknown,
            continue_elsewhere=continue_elsewhere,
        )
        return BatchRun(self._client, self._place, _planned_images(self._client.model, requests), options)

    def items(self) -> Iterator[BatchItem]:
        """All images of the folder, with their states from the ledger.

        Raises:
            BadRequestError: there is no batch in the folder.
        """
        return self._place.items()


def _planned_images(model: str, requests: Iterable[Entry] | None) -> list[PlannedImage] | None:
    if requests is None:
        return None
    if isinstance(requests, (str, dict)):
        raise BadRequestError("requests must be a list of prompts or requests, not a single one")
    builder = ImageListBuilder({"model": model})
    for number, entry in enumerate(requests, start=1):
        builder.add(number, entry)
    return builder.finish()
