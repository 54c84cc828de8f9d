"""The ledger as callers use it: open one, read purchases and budgets, settle by hand."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ..errors import BadRequestError
from ..results import Task
from . import arguments
from .backend import LEASE, Backend
from .by_hand import UNSET, Unset, resolved
from .group_writer import GroupWriter
from .location import Location, parse, stores_prompts
from .process import ProcessWriter
from .purchase import Budget, Purchase, budget_from, purchase_from
from .rows import BudgetRow, Row
from .schema import PAGE, PageKey, Where, pages
from .states import PurchaseState
from .steps import Step

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

T = TypeVar("T")

HEARTBEAT: Final = 10.0
MAX_OPEN_SUBMITS: Final = 16
PATIENCE: Final = 30.0
SETTLE_AFTER: Final = 60.0
LOOK_EVERY: Final = 60.0

_shared: dict[tuple[int, str], Ledger] = {}
_shared_lock = threading.Lock()


def _renew_lock() -> None:
    """After a fork: a thread of the other process may have held it."""
    global _shared_lock
    _shared_lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


class Ledger:
    """Who bought what, once: for all processes that open the same one. Threads and event loops can share an object.

    ``open`` makes one. A client that gets the ledger writes each image into it before the request goes out, so that the
    same key never buys twice.
    """

    def __init__(
        self,
        location: Location,
        *,
        store_prompts: bool | None = None,
        heartbeat: float = HEARTBEAT,
        lease: float = LEASE,
        max_open_submits: int = MAX_OPEN_SUBMITS,
        patience: float = PATIENCE,
        settle_after: float = SETTLE_AFTER,
    ) -> None:
        """Not for callers: ``open`` checks its argument."""
        longest = arguments.LONGEST_TIME
        heartbeat = arguments.seconds("heartbeat", heartbeat, above_zero=True, most=longest)
        lease = arguments.seconds("lease", lease, most=longest)
        patience = arguments.seconds("patience", patience, most=longest)
        max_open_submits = arguments.whole("max_open_submits", max_open_submits, least=1)
        self.store_prompts = (
            stores_prompts() if store_prompts is None else arguments.flag("store_prompts", store_prompts)
        )
        self._location = location
        self.settle_after = arguments.seconds("settle_after", settle_after, most=longest)
        self._next_look: float | None = None
        self._writer = ProcessWriter(
            lambda: GroupWriter(
                partial(_open_backend, location),
                heartbeat=heartbeat,
                lease=lease,
                max_open_submits=max_open_submits,
                patience=patience,
            )
        )

    @classmethod
    def open(
        cls,
        place: str | os.PathLike[str],
        *,
        store_prompts: bool | None = None,
        heartbeat: float = HEARTBEAT,
        lease: float = LEASE,
        max_open_submits: int = MAX_OPEN_SUBMITS,
        patience: float = PATIENCE,
        settle_after: float = SETTLE_AFTER,
    ) -> Ledger:
        """Open a ledger; a new SQLite file, or the tables in a PostgreSQL database, are made if there are none.

        Args:
            place: a path, ``sqlite:///relative.db`` or ``sqlite:////absolute/path.db`` (many processes on one machine),
                ``postgresql://user@host/database`` (many machines; needs the extra ``postgres``), or ``:memory:`` or
                ``sqlite://`` (this object alone).
            store_prompts: False stores digests in the place of prompts and references. None: as the variable
                ``APIMASTER_LEDGER_PROMPTS`` says, else True.
            heartbeat: seconds between two signs of life of this process.
            lease: seconds without one after which others take it for dead. All processes should use the same.
            max_open_submits: requests of this process that may be open at once: so many images become unknown at most
                if it is killed. One-shot calls are not limited.
            patience: seconds that a step waits for a database that can't be reached.
            settle_after: seconds after which a charge must be in the gateway's usage log, so that its absence counts.

        Raises:
            BadRequestError: the place or another argument is not accepted, a newer version wrote the ledger, or psycopg
                is missing.
            LedgerError: it can't be opened.
        """
        ledger = cls(
            parse(place),
            store_prompts=store_prompts,
            heartbeat=heartbeat,
            lease=lease,
            max_open_submits=max_open_submits,
            patience=patience,
            settle_after=settle_after,
        )
        return ledger.connect()

    @classmethod
    def shared(cls, place: str | os.PathLike[str]) -> Ledger:
        """The one ledger of this process for a place, opened at its first use and closed when the process ends.

        If it can't be opened, its first use says so, and each further use tries again.

        Raises:
            BadRequestError: the place is not accepted.
        """
        location = parse(place)
        key = (os.getpid(), location.url or str(location.path))
        with _shared_lock:
            found = _shared.get(key)
            if found is None or found._writer.closed:
                found = _shared[key] = cls(location)
            return found

    def connect(self) -> Ledger:
        """Open the store now, if it is not open; for whoever wants to know whether it can be.

        Raises:
            BadRequestError, LedgerError: as ``open``.
        """
        self._writer.get().opened.result()
        return self

    @property
    def location(self) -> Location:
        """Where it lies: a file, the URL of a database, or (neither) the memory of this process."""
        return self._location

    @property
    def name(self) -> str:
        """The file, or the URL without its password."""
        return self.call(lambda backend: backend.name).result()

    # --- reading --------------------------------------------------------------------------------------

    def get(self, key: str, index: int = 0) -> Purchase | None:
        """The purchase with this key, or None. A call for several images has one for each ``index``, from 0.

        Raises:
            BadRequestError: no purchase can have such a key or index.
            LedgerError: the ledger can't be read.
        """
        where = Where(key=arguments.text("key", key), index=arguments.whole("index", index))
        return next(map(purchase_from, self.rows(where)), None)

    def purchases(
        self,
        *,
        state: PurchaseState | Sequence[PurchaseState] | None = None,
        budget: str | None = None,
        since: datetime | float | None = None,
        key: str | None = None,
        newest_first: bool = False,
    ) -> Iterator[Purchase]:
        """The purchases, in the order in which they were first asked for; read in pieces, so memory stays constant.

        Args:
            state: a state, or several; None: all.
            budget: the name of a budget; None: all, and those without one.
            since: made at this time or later: a datetime (without a zone it is this machine's time), or unix seconds.
            key: one idempotency key.
            newest_first: the other way round.

        Raises:
            BadRequestError: there is no such state, or another argument is not accepted.
            LedgerError: the ledger can't be read.
        """
        where = Where(
            key=None if key is None else arguments.text("key", key),
            states=arguments.states(state),
            budget=None if budget is None else arguments.text("budget", budget),
            since=None if since is None else arguments.moment("since", since),
        )
        return map(purchase_from, self.rows(where, newest=arguments.flag("newest_first", newest_first)))

    def budgets(self) -> tuple[Budget, ...]:
        """All budgets, by name.

        Raises:
            LedgerError: the ledger can't be read.
        """
        return tuple(map(budget_from, self.call(lambda backend: backend.budgets()).result()))

    # --- writing --------------------------------------------------------------------------------------

    def set_budget(
        self, name: str, *, usd: Decimal | str | float | Unset | None = UNSET, images: int | Unset | None = UNSET
    ) -> Budget:
        """Make a budget, or change its limits. What counts against it stays, and so does a limit that is not named.

        Args:
            name: its name, as ``budget=`` of a call says it.
            usd: US dollars in all, 0 to 1,000,000,000,000; None: no limit in dollars.
            images: images in all, 0 to 2,147,483,647; None: no limit in images.

        Raises:
            BadRequestError: a limit is none of these, or the name is empty or no text.
            LedgerError: the ledger can't be written.
        """
        name = arguments.text("the name of a budget", name)
        limit = usd if usd is None or isinstance(usd, Unset) else arguments.dollars("usd", usd)
        count = images if images is None or isinstance(images, Unset) else arguments.whole("images", images)

        def change(backend: Backend) -> BudgetRow:
            before = next((each for each in backend.budgets() if each.name == name), BudgetRow(name))
            return backend.set_budget(
                name,
                before.max_usd if isinstance(limit, Unset) else limit,
                before.max_images if isinstance(count, Unset) else count,
            )

        return budget_from(self.call(change).result())

    def resolve(
        self, key: str, *, index: int | None = None, charged: bool | None = None, task: Task | str | None = None
    ) -> tuple[Purchase, ...]:
        """Say what became of a purchase, when you have found out: in the account's log, or from the vendor.

        Of one that is unknown, or that has a task which the gateway has forgotten, or which somebody gave here wrongly.

        Args:
            key: its idempotency key.
            index: one image of the call; None: all of them that are unknown, else all that have a task.
            charged: False: nothing was charged, and the key may buy again. True: it was charged and the picture is
                lost: it stays in the budget, and the key buys no more.
            task: the gateway's task, or its id: the next call with this key collects its picture.

        Raises:
            BadRequestError: neither or both of ``charged`` and ``task`` are given, an argument is not accepted, the
                task has no id, another purchase has it, there is nothing to say, or a process is at work on it.
            LedgerError: the ledger can't be written.
        """
        if (charged is None) == (task is None):
            raise BadRequestError("resolve takes either charged= or task=")
        key = arguments.text("key", key)
        if index is not None:
            index = arguments.whole("index", index)
        if charged is not None:
            arguments.flag("charged", charged)
        if task is not None:
            task = arguments.task("task", task)
        self.reap()
        rows = list(self.rows(Where(key=key, index=index)))
        open_ones = [row for row in rows if row.state == "unknown"] or [row for row in rows if row.state == "submitted"]
        if not open_ones:
            found = ", ".join(f"{row.key} [{row.index}] is {row.state}" for row in rows) or "there is no such purchase"
            raise BadRequestError(f"nothing about {key!r} is unknown: {found}")
        if task is not None and len(open_ones) > 1:
            raise BadRequestError(
                f"{len(open_ones)} images of {key!r} are unknown, and a task is one image", advice="Name the index."
            )
        steps = [resolved(row, charged, task) for row in open_ones]
        for each in [self.take(step) for step in steps]:
            each.result()
        purchases = tuple(purchase for step in steps if (purchase := self.get(step.key, step.index)) is not None)
        for step, purchase in zip(steps, purchases, strict=True):
            if purchase.state != step.state or (step.task_id and purchase.task and purchase.task.id != step.task_id):
                reason = (
                    f"another purchase has the task {step.task_id!r}" if step.task_id else "a process is at work on it"
                )
                raise BadRequestError(f"{reason}, so {key!r} [{purchase.index}] is {purchase.state} as before")
        return purchases

    def prune(self, older_than: float | timedelta | datetime) -> int:
        """Remove purchases that ended (delivered, saved or failed); budgets keep what they counted. Give how many.

        A removed key buys again. What is planned, under way or unknown stays.

        Args:
            older_than: seconds since their last change, a ``timedelta``, or the time of it (without a zone it is this
                machine's time).

        Raises:
            BadRequestError: ``older_than`` is none of these, or negative.
            LedgerError: the ledger can't be written.
        """
        end = arguments.end("older_than", older_than)
        return self.call(lambda backend: backend.prune(end(backend.now()))).result()

    def close(self) -> None:
        """Write what is waiting, and close the store. Closing twice does no harm."""
        self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Ledger({str(self._location.path or 'in memory') if self._location.url is None else 'postgresql'!r})"

    # --- for the flows --------------------------------------------------------------------------------

    def take(self, step: Step) -> Future[Any]:
        """Queue one step of a purchase; the future has its answer, or the error that refused it."""
        return self._writer.get().take(step)

    def call(self, function: Callable[[Backend], T]) -> Future[T]:
        """Run a function on the store, after the steps that came before it."""
        return self._writer.get().call(function)

    def start_reaping(self) -> Future[None]:
        """``reap``, without waiting for it."""
        return self._writer.get().reap()

    def may_look(self, now: float) -> bool:
        """Whether to look after purchases that dead processes left behind, at a monotonic time.

        A process does so every minute from its second one on: one that ends earlier is not kept waiting.
        """
        due = self._next_look is not None and now >= self._next_look
        if due or self._next_look is None:
            self._next_look = now + LOOK_EVERY
        return due

    def reap(self) -> None:
        """Free what dead processes left behind: what they were submitting becomes unknown."""
        self.start_reaping().result()

    def note(self, name: str) -> str | None:
        """What an adapter has noted under a name; None: nothing. Pruning keeps it."""
        name = arguments.text("the name of a note", name)
        return self.call(lambda backend: backend.note(name)).result()

    def set_note(self, name: str, text: str) -> None:
        """Note a text under a name, for adapters, in the place of what was noted before."""
        name, text = arguments.text("the name of a note", name), arguments.any_text("a note", text)
        self.call(lambda backend: backend.set_note(name, text)).result()

    def change_note(self, name: str, change: Callable[[str | None], str]) -> None:
        """Note what ``change`` makes of what was noted under a name, in one transaction, for adapters.

        No other thread and no other process changes it in between. ``change`` may run several times, must not use the
        ledger, and what is the same as before is not written.
        """
        name = arguments.text("the name of a note", name)

        def checked(before: str | None) -> str:
            return arguments.any_text("a note", change(before))

        self.call(lambda backend: backend.change_note(name, checked)).result()

    def rows(self, where: Where, *, newest: bool = False) -> Iterator[Row]:
        """The rows behind ``purchases``, for adapters; read in pieces."""

        def read(after: PageKey | None) -> list[Row]:
            return self.call(lambda backend: backend.rows(where, after, PAGE, newest=newest)).result()

        for page in pages(read):
            yield from page


def _open_backend(location: Location) -> Backend:
    if location.url is not None:
        from .postgres import PostgresBackend

        return PostgresBackend(location.url)
    from .sqlite import SQLiteBackend

    return SQLiteBackend(location.path)
