"""A folder in one process's hands: locked, its ledger open, and what a run would do known before it is done.

Nothing is written to the folder before ``begin``, so that a look at the plan (``--dry-run``, or a question that is
answered with no) leaves it as it was.
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
from .job import IMAGES
from .journal import Journal
from .ledger import NAME, Ledger
from .lines import Line
from .lock import DirectoryLock
from .plan import Plan, Terms, make_plan

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

REFERENCES: Final = "references"
_BASE_URL: Final = "base_url"
_MAX_COST: Final = "max_cost"
_MAX_IMAGES: Final = "max_images"


class Session:
    """Holds a batch's folder.

    Args:
        directory: the folder; made when the run begins.
        lines: what is asked for; None: what the ledger lists.
        terms: limits, and what is tried again.

    Raises:
        BadRequestError: there is no batch to resume, or a line contradicts the ledger.
        DirectoryLocked: another process works there.
    """

    def __init__(self, directory: Path, lines: Sequence[Line] | None, terms: Terms) -> None:
        self.directory = directory.absolute()
        self.journal = Journal(self.directory)
        self._lines = lines
        self._lock = DirectoryLock(self.directory)
        self._locked = False
        self._open = False
        self.terms = terms

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.shield(self._close())

    async def plan(self) -> Plan:
        """What a run would do. Takes the lock where there is a folder; writes nothing."""
        return await asyncio.to_thread(self._plan)

    async def begin(self, base_url: str) -> Plan:
        """Write down what is asked for. ``base_url`` is the gateway that will be asked.

        Raises:
            BadRequestError: images of this folder are under way at another base URL.
        """
        self._lines = await asyncio.to_thread(self._prepare, self._lines)
        await self.journal.open()
        self._open = True
        return await self.journal.ask(lambda ledger: self._begin(ledger, base_url))

    def budget(self, plan: Plan) -> Budget:
        """The limits, with what was spent already."""
        terms = plan.terms
        return Budget(terms.max_cost, terms.max_images, spent=plan.spent, images=plan.spent_images)

    # --- blocking -------------------------------------------------------------------------------------

    def _plan(self) -> Plan:
        if self._known():
            self._take()
        trial = Ledger.trial(self.directory)
        try:
            return self._enter(trial)
        finally:
            trial.close()

    def _known(self) -> bool:
        """Whether there is a ledger; without one there must be lines."""
        known = (self.directory / NAME).exists()
        if not known and self._lines is None:
            raise BadRequestError(f"There is no batch in {self.directory}: it holds no {NAME}.")
        return known

    def _prepare(self, lines: Sequence[Line] | None) -> Sequence[Line] | None:
        self._known()
        images = self.directory / IMAGES
        images.mkdir(parents=True, exist_ok=True)
        self._take()
        for left in images.glob(".apimaster-*.part"):  # what a killed process was writing; we hold the lock
            left.unlink(missing_ok=True)
        return None if lines is None else [self._on_disk(line) for line in lines]

    def _take(self) -> None:
        if not self._locked:
            self._lock.acquire()
            self._locked = True

    def _begin(self, ledger: Ledger, base_url: str) -> Plan:
        recorded = ledger.fact(_BASE_URL)
        if recorded not in (None, base_url) and ledger.under_way():
            raise BadRequestError(
                f"images of this folder are under way at {recorded}; {base_url} would not know their tasks. "
                f"Resume with base_url {recorded} first."
            )
        ledger.set_fact(_BASE_URL, base_url)
        plan = self._enter(ledger)
        ledger.set_fact(_MAX_COST, _text(plan.terms.max_cost))
        ledger.set_fact(_MAX_IMAGES, _text(plan.terms.max_images))
        return plan

    def _enter(self, ledger: Ledger) -> Plan:
        died = ledger.recover()
        new = 0 if self._lines is None else ledger.enter(self._lines)
        failed = ledger.retry("failed") if self.terms.retry_failed else 0
        unknown = ledger.retry("unknown") if self.terms.retry_unknown else 0
        kept_cost, kept_images = ledger.fact(_MAX_COST), ledger.fact(_MAX_IMAGES)
        terms = self.terms
        if terms.max_cost is None and kept_cost is not None:
            terms = replace(terms, max_cost=Decimal(kept_cost))
        if terms.max_images is None and kept_images is not None:
            terms = replace(terms, max_images=int(kept_images))
        return make_plan(
            ledger.sums(), ledger.kinds(), terms, new=new, died=died, retried_failed=failed, retried_unknown=unknown
        )

    def _on_disk(self, line: Line) -> Line:
        """The line with reference images that are only in memory written to the folder, so that a resume has them."""
        if all(reference.in_memory is None for reference in line.request.references):
            return line
        kept = [self._keep(reference) for reference in line.request.references]
        fields = {name: getattr(line.request, name) for name in ImageRequest.model_fields}
        return replace(line, request=ImageRequest(**{**fields, "references": kept}))

    def _keep(self, reference: Reference) -> Reference:
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
        opened, self._open = self._open, False
        if opened:
            with contextlib.suppress(Exception):  # the ledger may be what is broken
                await self.journal.ask(Ledger.recover)  # of an aborted run: nobody knows of its submits
            await self.journal.close()
        await asyncio.to_thread(self._lock.release)


def _text(value: object) -> str | None:
    return None if value is None else str(value)
