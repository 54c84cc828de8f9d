"""A batch's folder, used by this process: the lock, the open ledger, and the plan of a run.

``plan`` writes nothing to the folder, so that ``--dry-run``, or a "no" to the question, leaves it as it was. ``begin``
is the first to write.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from ..adapters import inspect_picture
from ..errors import BadRequestError
from ..request import ImageRequest, Reference
from .bought_at import (
    BASE_URL,
    BOUGHT_AT,
    EMULATOR,
    check_place,
    forget_emulator,
    is_same,
    place_in,
    put_pictures_aside,
)
from .image_list import PlannedImage
from .items import IMAGES
from .ledger import BatchLedger
from .lock import DirectoryLock, DirectoryLocked
from .migration import OLD
from .options import RunOptions
from .place import Place, no_batch_in
from .plan import Plan, make_plan

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from ..ledger import Ledger

REFERENCES: Final = "references"


class BatchFolder:
    """A batch's folder, as one run uses it; other processes may run the same batch.

    Args:
        place: the folder and its ledger; ``begin`` makes it.
        images: the list to make; None: what the folder lists.
        options: limits, and what to try again.

    Raises:
        BadRequestError: there is no batch to resume, or an image contradicts the folder.
        DirectoryLocked: a process of an earlier version uses the folder.

    Attributes:
        batch: the batch, once the run has begun.
        ledger: its ledger, likewise.
    """

    batch: BatchLedger
    ledger: Ledger

    def __init__(self, place: Place, images: Sequence[PlannedImage] | None, options: RunOptions) -> None:
        self.directory = place.directory
        self.place = place
        self._images = images
        self._options = options
        self._lock = DirectoryLock(self.directory)
        self._open = False
        self._beginning = threading.Lock()  # the thread of a cancelled run goes on: the end waits for it

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.shield(asyncio.to_thread(self._close))

    async def plan(self, base_url: str) -> Plan:
        """What a run at ``base_url`` would do. Writes nothing.

        Raises:
            BadRequestError: images of this folder are bought at another place.
        """
        return await asyncio.to_thread(self._plan, base_url)

    async def begin(self, base_url: str) -> Plan:
        """Enter the list and the limits into the ledger. ``base_url`` is the gateway of this run.

        Unknown images are not planned again yet: ``retry_unknown`` does it, when the usage log was asked about them.

        Raises:
            BadRequestError: images of this folder are bought at another place.
        """
        return await asyncio.to_thread(self._begin, base_url)

    async def retry_unknown(self, not_charged: Iterable[str], *, halted: bool) -> Plan:
        """Plan unknown images again, if the options say so, and give the plan of all that is to do.

        ``not_charged``: keys of images that were unknown at the start, and that the usage log has proved to be free.
        ``halted``: the run was stopped, perhaps before it could ask the log: all images stay as they are.
        """
        return await asyncio.to_thread(self._retry_unknown, list(not_charged), halted)

    # --- blocking -------------------------------------------------------------------------------------

    def _plan(self, base_url: str) -> Plan:
        self._check_exists()
        alone = not self._lock.in_use()[0]
        copy = self.place.copy()
        try:
            known = self._check_place(copy, base_url, alone=alone)
            if known == EMULATOR:
                keep = self._options.emulated
                path = str(self.place.path)
                forget_emulator(copy.lines.connection, path, keep_saved=keep)
            return self._apply_options(copy, alone=alone, retry_unknown=self._options.retry_unknown)
        finally:
            copy.close()

    def _here(self, base_url: str) -> str:
        return EMULATOR if self._options.emulated else base_url

    def _check_place(self, batch: BatchLedger, base_url: str, *, alone: bool) -> str | None:
        """Where the folder is bought so far, if this run may go on at ``base_url``."""
        known, here = place_in(batch.lines), self._here(base_url)
        if known is not None and not is_same(known, here):
            check_place(known, here, open_there=batch.is_open(), elsewhere=self._options.continue_elsewhere)
        if known == EMULATOR and not alone:
            raise BadRequestError(
                "another command draws the pictures of this folder with its own emulator",
                advice="Wait until it has ended.",
            )
        return known

    def _forget_emulator(self) -> None:
        """Plan again what an emulator that has ended did not deliver, or everything if a gateway goes on."""
        keep = self._options.emulated
        self.batch.close()
        self._open = False
        if not keep:
            put_pictures_aside(self.directory)
            (self.directory / IMAGES).mkdir(exist_ok=True)
        self.place.forget_emulator(keep_saved=keep)
        self.batch, self.ledger = self.place.open()
        self._open = True

    def _check_exists(self) -> None:
        """If there is no batch in the folder, there must be a list."""
        if self._images is None and not self.place.holds_batch():
            raise no_batch_in(self.directory)

    def _begin(self, base_url: str) -> Plan:
        with self._beginning:
            return self._open_batch(base_url)

    def _open_batch(self, base_url: str) -> Plan:
        self._check_exists()
        pictures = self.directory / IMAGES
        pictures.mkdir(parents=True, exist_ok=True)
        alone = self._lock.acquire()
        if alone:
            self._remove_parts()
        elif self.place.version() == OLD:
            raise DirectoryLocked(f"{self.directory} is in use by a process of an earlier version of apimaster")
        if self._images is not None:
            self._images = [self._with_stored_references(image) for image in self._images]
        self.batch, self.ledger = self.place.open()
        self._open = True
        if self._check_place(self.batch, base_url, alone=alone) == EMULATOR:
            self._forget_emulator()
        here = self._here(base_url)
        self.batch.lines.store_settings({BASE_URL: here, BOUGHT_AT: here})
        plan = self._apply_options(self.batch, alone=alone, retry_unknown=False)
        self.batch.set_limits(plan.terms.max_cost, plan.terms.max_images)
        if alone:
            self._lock.share()
        return plan

    def _retry_unknown(self, not_charged: list[str], halted: bool) -> Plan:
        with self._beginning:
            again = 0
            if self._options.retry_unknown and not halted:
                again = self.batch.plan_again(not_charged) + self.batch.retry("unknown")
            return self._plan_of(self.batch, retried_unknown=again)

    def _apply_options(self, batch: BatchLedger, *, alone: bool, retry_unknown: bool) -> Plan:
        died = batch.recover() if alone else 0
        new = 0 if self._images is None else batch.lines.update_list(self._images)
        batch.enter_planned()
        failed = batch.retry("failed") if self._options.retry_failed else 0
        unknown = batch.retry("unknown") if retry_unknown else 0
        return self._plan_of(batch, new=new, died=died, retried_failed=failed, retried_unknown=unknown)

    def _plan_of(self, batch: BatchLedger, **numbers: int) -> Plan:
        return make_plan(batch.counts(), batch.planned_groups(), self._with_stored_limits(batch), **numbers)

    def _with_stored_limits(self, batch: BatchLedger) -> RunOptions:
        """The options, with the limits of the last run where this one sets none."""
        options, limits = self._options, batch.limits()
        if limits is None:
            return options
        return replace(
            options,
            max_cost=limits.max_usd if options.max_cost is None else options.max_cost,
            max_images=limits.max_images if options.max_images is None else options.max_images,
        )

    def _with_stored_references(self, image: PlannedImage) -> PlannedImage:
        """The image, with pictures that are only in memory written to the folder for a later run."""
        request = image.request
        if all(picture.in_memory is None for picture in request.pictures):
            return image
        stored = [self._store(reference) for reference in request.references]
        mask = None if request.mask is None else self._store(request.mask)
        return replace(image, request=ImageRequest.build(request, {"references": stored, "mask": mask}))

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

    def _close(self) -> None:
        with self._beginning:
            was_open, self._open = self._open, False
            try:
                if was_open:
                    self.batch.close()
                    if self._lock.is_last():
                        self._remove_parts()
            finally:
                self._lock.release()

    def _remove_parts(self) -> None:
        """Remove what killed processes were writing; nobody else must be at work."""
        for left in (self.directory / IMAGES).glob(".apimaster-*.part"):
            left.unlink(missing_ok=True)
