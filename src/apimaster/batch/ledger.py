"""A batch in a ledger: each line of the list is a purchase, whose key is the batch's name and the line's id.

What the list says is in the folder (``lines.py``); states, tasks, pictures and money are in the ledger. Here both come
together. Everything blocks.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from itertools import groupby
from typing import Any, Final, Protocol, TypeVar

from ..ledger.backend import Backend, Worker
from ..ledger.digest import stored_request
from ..ledger.rows import BudgetRow, Row
from ..ledger.schema import PAGE, PageKey, Where, page_key, pages
from ..ledger.states import PurchaseState
from ..ledger.steps import PlanAgain, Reap, Step
from ..request import read_stored
from .items import ENDED, SPENT, STATES, ZERO, BatchItem, State, batch_state
from .ledger_records import PlannedGroup, StateCount
from .lines import Line, Lines
from .purchased import item_from

T = TypeVar("T")
_KEYS_AT_ONCE: Final = 500
_WITH_A_PROCESS: Final[tuple[PurchaseState, ...]] = ("claimed", "submitting", "submitted", "delivered")
_BEHIND: Final = 1e-6
"""Seconds from one new row to the next: rows are bought in the order of their times."""


class Store(Protocol):
    """Where the purchases are: a ledger that other processes use too, or a copy of one."""

    store_prompts: bool

    def run(self, function: Callable[[Backend], T]) -> T:
        """What the function returns."""

    def take(self, steps: Sequence[Step]) -> list[Any]:
        """The answers to steps."""

    def close(self) -> None:
        """Close what was opened for this batch."""


class BatchLedger:
    """The images of one batch.

    Args:
        lines: the folder's lines and settings.
        store: the ledger.
        name: the batch's name.
    """

    def __init__(self, lines: Lines, store: Store, name: str) -> None:
        self.lines = lines
        self.store = store
        self.name = name
        self.budget_name = budget_name(name)
        self._prefix = f"{name}/"
        self._all = Where(key_prefix=self._prefix)

    def close(self) -> None:
        """Close the file, and the ledger if it was opened for this batch."""
        self.lines.close()
        self.store.close()

    def key(self, name: str) -> str:
        """The idempotency key of the image with this id."""
        return self._prefix + name

    # --- writing --------------------------------------------------------------------------------------

    def enter_planned(self) -> None:
        """Make a row for each line that has none."""
        now = self.now()
        prompts = self.store.store_prompts
        after, first = 0, None
        while lines := self.lines.not_entered(after):
            after = lines[-1].seq
            first = lines[0].seq if first is None else first
            rows = []
            for line in lines:
                request = read_stored(line.request)
                rows.append(
                    Row(
                        self.key(line.id),
                        0,
                        "",  # the first call fills it in: a digest is made of the bytes of the references
                        line.request if prompts else stored_request(request, prompts=False),
                        price=request.cost,
                        budget=self.budget_name,
                        created_at=now + (line.seq - first) * _BEHIND,
                        updated_at=now,
                    )
                )
            self.store.run(lambda backend, rows=rows: backend.plan(rows))  # type: ignore[misc]

    def set_limits(self, max_cost: Decimal | None, max_images: int | None) -> None:
        """Set the limits of the batch, and note that every line has its row."""
        self.store.run(lambda backend: backend.set_budget(self.budget_name, max_cost, max_images))
        self.lines.mark_entered()  # not before: the budget was flushed to the disk, and with it the rows before it

    def limits(self) -> BudgetRow | None:
        """The limits of the batch, and what counts against them; None before its first run."""
        found = self.store.run(lambda backend: backend.budgets())
        return next((each for each in found if each.name == self.budget_name), None)

    def recover(self) -> int:
        """Free what dead processes left behind, where no process is at work. Gives how many became unknown."""
        owned = [row for page in self._pages(Where(key_prefix=self._prefix, owned=True)) for row in page]
        answers = self.store.take([Reap(key=row.key, index=row.index, dead=row.worker) for row in owned])
        return sum(isinstance(answer, Row) and answer.state == "unknown" for answer in answers)

    def plan_again(self, keys: Iterable[str]) -> int:
        """Plan these images again, if they failed or nobody knows what became of them. Gives how many."""
        answers = self.store.take([PlanAgain(key=key) for key in keys])
        return sum(isinstance(answer, Row) for answer in answers)

    def retry(self, state: State) -> int:
        """Plan all listed images in ``state`` (``failed`` or ``unknown``) again. Gives how many.

        The ledger keeps what an unknown image may have cost, and its task's id.
        """
        again = 0
        where = Where(key_prefix=self._prefix, states=("failed", "unknown"))
        for page in self._pages(where):
            listed = self._lines_of(page)
            again += self.plan_again(
                row.key
                for row in page
                if batch_state(row.state, row.billed) == state and row.key in listed and listed[row.key].listed
            )
        return again

    # --- reading: all images --------------------------------------------------------------------------

    def items(self) -> Iterator[BatchItem]:
        """All images, in the order in which the folder got them."""
        for lines in self.lines.pages():
            yield from self._items_of(lines)

    def ended(self) -> Iterator[list[BatchItem]]:
        """The listed images that are saved, failed or unknown, some at a time."""
        for lines in self.lines.pages(listed=True):
            yield [item for item in self._items_of(lines) if item.state in ENDED]

    def rows(self, states: tuple[PurchaseState, ...] | None = None) -> Iterator[list[Row]]:
        """The purchases in these states, or all, some at a time."""
        return self._pages(Where(key_prefix=self._prefix, states=states))

    def item(self, name: str) -> BatchItem:
        """The image with this id."""
        return next(self._items_of(list(self.lines.of([name]).values())))

    def counts(self) -> list[StateCount]:
        """All images by state and price, in the order of the states."""
        found: Counter[tuple[State, bool, Decimal | None, Decimal]] = Counter()
        for each in self.store.run(lambda backend: backend.counts(self._all)):
            state = batch_state(each.state, each.billed)
            found[state, True, each.cost if state in SPENT else each.price, each.sunk] += each.count
        for lines in self.lines.set_aside():
            for row in self._rows_of([self.key(line.id) for line in lines]).values():
                state = batch_state(row.state, row.billed)
                price = row.cost if state in SPENT else row.price
                found[state, True, price, row.sunk] -= 1
                found[state, False, price, row.sunk] += 1
        sums: dict[tuple[State, bool, Decimal | None], tuple[int, Decimal]] = {}
        for (state, listed, price, sunk), count in found.items():
            before, so_far = sums.get((state, listed, price), (0, ZERO))
            sums[state, listed, price] = (before + count, so_far + sunk * count)
        counted = [
            StateCount(state, listed, price, count, sunk)
            for (state, listed, price), (count, sunk) in sums.items()
            if count
        ]
        return sorted(counted, key=lambda each: (STATES.index(each.state), each.price or ZERO))

    def planned_groups(self) -> list[PlannedGroup]:
        """The images to submit, in their order, grouped while model, resolution and price stay the same."""
        groups = groupby(
            ((str(request["model"]), request.get("resolution"), row.price) for request, row in self._planned_requests())
        )
        return [
            PlannedGroup(model, resolution, price, sum(1 for _ in group))
            for (model, resolution, price), group in groups
        ]

    def now(self) -> float:
        """Unix seconds by the ledger's clock."""
        return self.store.run(lambda backend: backend.now())

    def workers(self, lease: float) -> list[Worker]:
        """The living processes that are at work on this batch."""
        return self.store.run(lambda backend: backend.workers(self._all, lease))

    def is_open(self) -> bool:
        """Whether there is an image of which only its gateway knows what became of it."""
        where = Where(key_prefix=self._prefix, states=("submitting", "submitted", "delivered", "unknown"))
        return bool(self.store.run(lambda backend: backend.rows(where, None, 1)))

    # --- reading: what is left to do ------------------------------------------------------------------

    def planned(self, after: PageKey | None) -> tuple[list[BatchItem], PageKey | None]:
        """The next listed images to submit, and where their page ended (None: there is no other)."""
        return self._next(Where(key_prefix=self._prefix, states=("planned",)), after, listed=True)

    def under_way(self, after: PageKey | None) -> tuple[list[BatchItem], PageKey | None]:
        """The next images that are paid for, not saved, and nobody's, listed or not; as ``planned``."""
        return self._next(Where(key_prefix=self._prefix, states=("submitted", "delivered")), after, listed=False)

    def is_anything_open(self, done: set[str]) -> tuple[bool, bool]:
        """Whether there are images to begin, and whether others are at work; those with the ids in ``done`` apart."""
        others = False
        for where in self._open():
            for page in self._pages(where):
                lines = self._lines_of(page)
                for row in page:
                    line = lines.get(row.key)
                    if line is None or line.id in done or (row.state == "planned" and not line.listed):
                        continue
                    if row.worker is None:
                        return True, others
                    others = True
        return False, others

    # --- inside ---------------------------------------------------------------------------------------

    def _next(self, where: Where, after: PageKey | None, *, listed: bool) -> tuple[list[BatchItem], PageKey | None]:
        page = self.store.run(lambda backend: backend.rows(where, after, PAGE))
        free = [row for row in page if row.worker is None]
        lines = self._lines_of(free)
        items = [
            item_from(line, row)
            for row in free
            if (line := lines.get(row.key)) is not None and (line.listed or not listed)
        ]
        return items, page_key(page[-1]) if len(page) == PAGE else None

    def _open(self) -> Iterator[Where]:
        """What has not ended. Planned rows apart: there may be many, and they have an index of their own."""
        yield Where(key_prefix=self._prefix, states=_WITH_A_PROCESS, owned=True)
        yield Where(key_prefix=self._prefix, states=("planned",))
        yield Where(key_prefix=self._prefix, states=("submitted", "delivered"))

    def _planned_requests(self) -> Iterator[tuple[dict[str, Any], Row]]:
        for state in ("claimed", "planned"):
            for page in self._pages(Where(key_prefix=self._prefix, states=(state,))):
                lines = self._lines_of(page)
                for row in page:
                    line = lines.get(row.key)
                    if line is not None and line.listed:
                        yield json.loads(line.request), row

    def _items_of(self, lines: Sequence[Line]) -> Iterator[BatchItem]:
        rows = self._rows_of([self.key(line.id) for line in lines])
        for line in lines:
            yield item_from(line, rows.get(self.key(line.id)))

    def _rows_of(self, keys: Sequence[str]) -> dict[str, Row]:
        where = Where(keys=tuple(keys))
        found = self.store.run(lambda backend: backend.rows(where, None, len(keys)))
        return {row.key: row for row in found}

    def _lines_of(self, rows: Iterable[Row]) -> dict[str, Line]:
        """The lines of rows, by their keys."""
        names = [row.key.removeprefix(self._prefix) for row in rows]
        return {self.key(name): line for name, line in self.lines.of(names).items()} if names else {}

    def _pages(self, where: Where) -> Iterator[list[Row]]:
        return pages(lambda after: self.store.run(lambda backend: backend.rows(where, after, PAGE)))


def budget_name(name: str) -> str:
    """The budget of the batch with this name."""
    return f"batch/{name}"
