"""What the tables of a ledger hold, in the form in which the rules read and change it. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from decimal import Decimal
from operator import attrgetter
from typing import Any, Final

from ..errors import Billed
from .states import COUNTED, PurchaseState

ZERO: Final = Decimal(0)
RowId = tuple[str, int]
"""A purchase's key and index: one image."""


@dataclass(slots=True)
class Row:
    """One purchase. ``request``, ``task``, ``images`` and ``error`` are JSON, since the rules don't look into them.

    Attributes:
        key: the idempotency key, and ``index`` the position of the image in its call, from 0.
        digest: of everything that was asked for.
        request: the request, without its prompt if the ledger stores none.
        price: US dollars by the price list; ``charge`` the true one, once the gateway's usage log has told it.
        budget: the name of the budget that it counts against.
        account: a fingerprint of the gateway and the key that bought it.
        worker: the process at work on it; None if there is none.
        claim: the call at work on it: a step of another call is refused. It stays when the worker is gone.
        attempts: how often somebody began to buy it.
        one_shot: whether the request is a one-shot call, whose charge shows in the usage log only when it ends.
        task_id: the gateway's id, and ``task`` the whole task.
        earlier_tasks: ids of tasks of earlier attempts, separated by blanks.
        sunk: US dollars that earlier attempts cost or may have cost.
        alias: another name to find it by, such as a digest of a caller and a body.
        left: whether the caller that began it has gone away.
        joins: how often a later call got this picture.
        reported: the report that names its cost, for adapters whose spend is added up elsewhere; None: no call has
            reported it. It stays if the charge is given back: then it stands for the next one.
        settled_at: when it was last looked for in the usage log, or is being looked for; None: never.
        unknown_since: no request of an unknown purchase was sent after this time.
        created_at, begun_at, updated_at: unix seconds by the store's clock; ``begun_at`` is when the request went out,
            ``updated_at`` when the state last changed.
    """

    key: str
    index: int
    digest: str
    request: str
    state: PurchaseState = "planned"
    price: Decimal | None = None
    charge: Decimal | None = None
    billed: Billed = "no"
    budget: str | None = None
    account: str = ""
    worker: str | None = None
    claim: str | None = None
    attempts: int = 0
    one_shot: bool = False
    task_id: str | None = None
    task: str | None = None
    images: str | None = None
    error: str | None = None
    earlier_tasks: str = ""
    sunk: Decimal = ZERO
    alias: str | None = None
    left: bool = False
    joins: int = 0
    reported: str | None = None
    settled_at: float | None = None
    unknown_since: float | None = None
    created_at: float = 0.0
    begun_at: float | None = None
    updated_at: float = 0.0

    @property
    def id(self) -> RowId:
        """Its place in the ledger."""
        return (self.key, self.index)

    def values(self) -> tuple[Any, ...]:
        """The values of its columns, in their order."""
        return _values(self)

    def but(self, **changes: Any) -> Row:
        """A copy with other values. Several times as fast as ``dataclasses.replace``; each step makes one."""
        copy = Row(*_values(self))
        for name, value in changes.items():
            setattr(copy, name, value)
        return copy

    def earlier_tasks_with(self, task_id: str | None) -> str:
        """``earlier_tasks`` and this task, once."""
        known = self.earlier_tasks.split()
        return self.earlier_tasks if task_id is None or task_id in known else " ".join([*known, task_id])

    @property
    def cost(self) -> Decimal | None:
        """US dollars of this attempt: the true charge if it is known, else the list price."""
        return self.price if self.charge is None else self.charge

    def counted(self) -> tuple[Decimal, int]:
        """What it takes of its budget: US dollars, and images."""
        if self.state in COUNTED or self.billed != "no":
            return (self.cost or ZERO) + self.sunk, 1
        return self.sunk, 0


REPORTED_BY_VERSION_2: Final = "reported-"
"""How a claim begins by which a process with the tables of version 2 says that the cost has been reported."""

COLUMNS: Final = tuple(each.name for each in fields(Row))
"""The columns of a purchase, in the order of the fields."""

_values: Final = attrgetter(*COLUMNS)


@dataclass(frozen=True, slots=True)
class RowCount:
    """How many purchases are alike in state and money; ``cost`` is that of each, ``sunk`` that of earlier attempts."""

    state: PurchaseState
    billed: Billed
    price: Decimal | None
    charge: Decimal | None
    sunk: Decimal
    count: int

    @property
    def cost(self) -> Decimal | None:
        """US dollars of each: the true charge if it is known, else the list price."""
        return self.price if self.charge is None else self.charge


@dataclass(slots=True)
class BudgetRow:
    """A budget: its limits (None: no limit), and what counts against it."""

    name: str
    max_usd: Decimal | None = None
    max_images: int | None = None
    usd: Decimal = ZERO
    images: int = 0


@dataclass(slots=True)
class Books:
    """The part of a ledger that a group of steps reads and changes.

    Attributes:
        now: unix seconds by the store's clock.
        worker: the process that takes the steps.
        rows: the rows that the steps name, as far as they exist; the rules add new ones.
        budgets: the budgets that the rows or the steps name.
        alive: the workers among those of the rows that are alive.
        owners: who has the tasks and the pictures that settling gives away.
        changed: rows to write.
        touched: budgets to write.
    """

    now: float
    worker: str
    rows: dict[RowId, Row] = field(default_factory=dict)
    budgets: dict[str, BudgetRow] = field(default_factory=dict)
    alive: frozenset[str] = frozenset()
    owners: dict[str, RowId] = field(default_factory=dict)
    added: set[RowId] = field(default_factory=set)
    changed: set[RowId] = field(default_factory=set)
    touched: set[str] = field(default_factory=set)

    def is_alive(self, row: Row) -> bool:
        """Whether a process is at work on ``row``."""
        return row.worker is not None and (row.worker == self.worker or row.worker in self.alive)
