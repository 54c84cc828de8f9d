"""What a store of a ledger has to do. ``sqlite.py`` and ``postgres.py`` do it; everything here blocks.

A backend is used by one thread at a time.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, Protocol

from ..errors import APIMasterError, LedgerError
from .rows import Books, BudgetRow, Row, RowCount, RowId
from .rules import apply_step
from .schema import PageKey, Where
from .steps import Begin, Settle, Step

LEASE: Final = 60.0
"""Seconds without a sign of life after which a process is taken for dead, unless a ledger is opened with others."""

Answer = object
"""What a step returned, or the exception that it raised."""


class Unavailable(LedgerError):
    """The store can't be reached now: the same transaction may succeed in a moment."""


@dataclass(frozen=True, slots=True)
class Worker:
    """This process at this start: a fresh random id, so that nobody takes it for one that died before."""

    id: str = field(default_factory=lambda: secrets.token_hex(8))
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)


class Backend(Protocol):
    """A store. Each method is one transaction, and raises ``LedgerError`` if the store can't be used."""

    name: str
    """For messages: the file, or the URL without its password."""

    def apply(self, steps: Sequence[Step], worker: Worker, *, lease: float, beat: bool) -> list[Answer]:
        """Take steps in one transaction: an answer or an exception for each. With ``beat``, renew the worker's row."""

    def beat(self, worker: Worker) -> None:
        """Say that this process is alive."""

    def leave(self, worker: Worker) -> None:
        """This process takes no more steps: remove its row."""

    def orphans(self, lease: float) -> list[RowId]:
        """Purchases whose worker is dead or missing."""

    def rows(self, where: Where, after: PageKey | None, limit: int, *, newest: bool = False) -> list[Row]:
        """The next purchases, by the time at which they were made."""

    def counts(self, where: Where) -> list[RowCount]:
        """The purchases, counted by state and money."""

    def workers(self, where: Where, lease: float) -> list[Worker]:
        """The living processes that are at work on these purchases."""

    def plan(self, rows: Sequence[Row]) -> int:
        """Enter work that nobody has begun to buy; give how many are new. Rows that the ledger holds stay."""

    def budgets(self) -> list[BudgetRow]:
        """All budgets, by name."""

    def set_budget(self, name: str, max_usd: Decimal | None, max_images: int | None) -> BudgetRow:
        """Make a budget, or change its limits; what counts against it stays."""

    def prune(self, before: float) -> int:
        """Remove purchases that ended before this time; give how many."""

    def reserve_log_read(
        self, account: str, *, limit: int, period: float, pause: float = 0.0, count: bool = True
    ) -> float:
        """Count one reading of an account's usage log: 0, or seconds to wait if there were too many.

        Without ``count`` it only tells. ``pause``: seconds by which the pauses grow from the third reading of a period
        on. ``failed_reads(account)`` in the account's place counts those that failed, ``calls_reads(account)`` those of
        calls.
        """

    def note(self, name: str) -> str | None:
        """What was noted under a name; None: nothing."""

    def set_note(self, name: str, text: str) -> None:
        """Note a text under a name, which is not that of an account, in the place of what was noted before."""

    def change_note(self, name: str, change: Callable[[str | None], str]) -> None:
        """Note what ``change`` makes of what was noted before; nobody else changes it in between.

        ``change`` may run several times, and what is the same as before is not written.
        """

    def now(self) -> float:
        """Unix seconds by the store's clock."""

    def close(self) -> None:
        """Close what is open."""


def budget_names(steps: Sequence[Step], rows: Sequence[Row]) -> list[str]:
    """The budgets that these steps may touch, in one order for all processes."""
    named = {step.budget for step in steps if isinstance(step, Begin)} | {row.budget for row in rows}
    return sorted(name for name in named if name is not None)


def row_ids(steps: Sequence[Step]) -> list[RowId]:
    """The rows that these steps name, in one order for all processes: so no two lock each other out."""
    return sorted({step.id for step in steps})


def given_away(steps: Sequence[Step]) -> tuple[list[str], list[str]]:
    """The tasks, and the pictures without tasks, that settling gives to purchases.

    Two processes may settle at once, after one of them has read an older log. So who gives something away looks,
    in its own transaction and while nobody else does, whether it has an owner.
    """
    settled = [step for step in steps if isinstance(step, Settle)]
    tasks = {step.task_id for step in settled if step.task_id is not None}
    pictures = {step.images for step in settled if step.task_id is None and step.images is not None}
    return sorted(tasks), sorted(pictures)


def apply_group(books: Books, steps: Sequence[Step]) -> list[Answer]:
    """Apply steps one after another; a step that is refused changes nothing, and stops no other."""
    answers: list[Answer] = []
    for step in steps:
        try:
            answers.append(apply_step(books, step))
        except APIMasterError as refusal:  # noqa: PERF203  # one refusal must not stop the others
            answers.append(refusal)
    return answers


def count_log_read(
    stored: str | None, now: float, *, limit: int, period: float, pause: float = 0.0
) -> tuple[float, str]:
    """Seconds to wait before the next reading of a usage log, and the readings to store if there is nothing to wait."""
    reads = [at for at in json.loads(stored or "[]") if now - period < at <= now]
    if len(reads) >= limit:
        return reads[-limit] + period - now, json.dumps(reads)
    wait = reads[-1] + pause * (len(reads) - 1) - now if len(reads) > 1 else 0.0
    return max(0.0, wait), json.dumps([*reads, now])
