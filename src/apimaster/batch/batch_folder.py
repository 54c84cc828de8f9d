"""A batch's folder, held by one process: the lock, the open ledger, and the plan of a run.

``plan`` writes nothing to the folder, so that ``--dry-run``, or a "no" to the question, leaves it as it was. ``begin``
is the first to write.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..adapters import inspect_picture
from ..errors import BadRequestError
from ..request import ImageRequest, Reference
from .budget import Budget
from .image_job import IMAGES
from .image_list import PlannedImage
from .ledger import LEDGER_NAME, BatchLedger, no_batch_in
from .ledger_writer import LedgerWriter
from .lock import DirectoryLock
from .options import RunOptions
from .plan import Plan, make_plan

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

REFERENCES: Final = "references"
_BASE_URL: Final = "base_url"
_MAX_COST: Final = "max_cost"
_MAX_IMAGES: Final = "max_images"


class BatchFolder:
    """Holds a batch's folder for this process.

    Args:
        directory: the folder; ``begin`` makes it.
        images: the list to make; None: what the ledger lists.
        options: limits, and what to try again.

    Raises:
        BadRequestError: there is no batch to resume, or an image contradicts the ledger.
        DirectoryLocked: another process uses the folder.
    """

    def __init__(self, directory: Path, images: Sequence[PlannedImage] | None, options: RunOptions) -> None:
        self.directory = directory.absolute()
        self.ledger = LedgerWriter(self.directory)
        self._images = images
        self._options = options
        self._lock = DirectoryLock(self.directory)
        self._locked = False
        self._open = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.shield(self._close())

    async def plan(self) -> Plan:
        """What a run would do. Locks the folder if there is one; writes nothing."""
        return await asyncio.to_thread(self._plan)

    async def begin(self, base_url: str) -> Plan:
        """Store the list and the limits in the ledger. ``base_url`` is the gateway of this run.

        Raises:
            BadRequestError: images of this folder are under way at another base URL.
        """
        self._images = await asyncio.to_thread(self._prepare, self._images)
        await self.ledger.open()
        self._open = True
        return await self.ledger.query(lambda ledger: self._begin(ledger, base_url))

    # --- blocking -------------------------------------------------------------------------------------

    def _plan(self) -> Plan:
        if self._ledger_exists():
            self._acquire_lock()
        copy = BatchLedger.copy_in_memory(self.directory)
        try:
            return self._apply_options(copy)
        finally:
            copy.close()

    def _ledger_exists(self) -> bool:
        """Whether there is a ledger; if not, there must be a list."""
        exists = (self.directory / LEDGER_NAME).exists()
        if not exists and self._images is None:
            raise no_batch_in(self.directory)
        return exists

    def _prepare(self, images: Sequence[PlannedImage] | None) -> Sequence[PlannedImage] | None:
        self._ledger_exists()
        pictures = self.directory / IMAGES
        pictures.mkdir(parents=True, exist_ok=True)
        self._acquire_lock()
        for left in pictures.glob(".apimaster-*.part"):  # a killed process was writing these; we hold the lock
            left.unlink(missing_ok=True)
        return None if images is None else [self._with_stored_references(image) for image in images]

    def _acquire_lock(self) -> None:
        if not self._locked:
            self._lock.acquire()
            self._locked = True

    def _begin(self, ledger: BatchLedger, base_url: str) -> Plan:
        stored = ledger.setting(_BASE_URL)
        if stored not in (None, base_url) and ledger.under_way():
            raise BadRequestError(
                f"images of this folder are under way at {stored}, and {base_url} would not know their tasks",
                advice=f"First resume the batch with the base URL {stored}.",
            )
        ledger.set_setting(_BASE_URL, base_url)
        plan = self._apply_options(ledger)
        ledger.set_setting(_MAX_COST, _text(plan.terms.max_cost))
        ledger.set_setting(_MAX_IMAGES, _text(plan.terms.max_images))
        return plan

    def _apply_options(self, ledger: BatchLedger) -> Plan:
        died = ledger.recover()
        new = 0 if self._images is None else ledger.update_list(self._images)
        failed = ledger.retry("failed") if self._options.retry_failed else 0
        unknown = ledger.retry("unknown") if self._options.retry_unknown else 0
        return make_plan(
            ledger.state_counts(),
            ledger.planned_groups(),
            self._with_stored_limits(ledger),
            new=new,
            died=died,
            retried_failed=failed,
            retried_unknown=unknown,
        )

    def _with_stored_limits(self, ledger: BatchLedger) -> RunOptions:
        """The options, with the limits of the last run where this one sets none."""
        options = self._options
        max_cost, max_images = ledger.setting(_MAX_COST), ledger.setting(_MAX_IMAGES)
        if options.max_cost is None and max_cost is not None:
            options = replace(options, max_cost=Decimal(max_cost))
        if options.max_images is None and max_images is not None:
            options = replace(options, max_images=int(max_images))
        return options

    def _with_stored_references(self, image: PlannedImage) -> PlannedImage:
        """The image, with reference images that are only in memory written to the folder for a later run."""
        if all(reference.in_memory is None for reference in image.request.references):
            return image
        stored = [self._store(reference) for reference in image.request.references]
        return replace(image, request=ImageRequest.build(image.request, {"references": stored}))

    def _store(self, reference: Reference) -> Reference:
        if reference.in_memory is None:
            return reference
        data = reference.in_memory.data()
        ending = inspect_picture(data).media_type.removeprefix("image/")
        folder = self.directory / REFERENCES
        folder.mkdir(exist_ok=True)
        path = folder / f"{hashlib.sha256(data).hexdigest()[:32]}.{ending}"
        if not path.exists():
            part = path.with_suffix(".part")
            part.write_bytes(data)
            part.replace(path)
        return Reference.of(path)

    async def _close(self) -> None:
        was_open, self._open = self._open, False
        if was_open:
            with contextlib.suppress(Exception):  # the ledger itself may be what failed
                await self.ledger.query(BatchLedger.recover)  # an aborted run leaves submits without an answer
            await self.ledger.close()
        await asyncio.to_thread(self._lock.release)


def budget_of(plan: Plan) -> Budget:
    """The limits of a run, with what the folder has spent already."""
    options = plan.terms
    return Budget(options.max_cost, options.max_images, spent=plan.spent, images=plan.spent_images)


def _text(value: object) -> str | None:
    return None if value is None else str(value)
