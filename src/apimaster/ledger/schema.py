"""The tables of a ledger, for both backends, and the queries that read them.

==========  ===================================================================================================
table       holds
==========  ===================================================================================================
purchase    one row per image
budget      limits, and what counts against them
worker      one row per process, which it renews: whoever does not is taken for dead
gateway     rows per account: when its usage log was read, since the gateway limits that, when it could not be read,
            and when processes looked for what others had left behind; and the notes of adapters
==========  ===================================================================================================

Column names are quoted, because some are words of SQL. Money is ``NUMERIC`` in PostgreSQL and text in SQLite, which has
no exact decimals.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from .rows import COLUMNS, Row
from .states import PRUNED, STATES, PurchaseState

VERSION: Final = 3
"""Version 1 was the ledger of a batch's folder only. Whoever raises it adds to ``migrations.py``."""

# name: type in SQLite, type in PostgreSQL
_TYPES: Final = {
    "key": ("TEXT NOT NULL", "text NOT NULL"),
    "index": ("INTEGER NOT NULL", "integer NOT NULL"),
    "digest": ("TEXT NOT NULL", "text NOT NULL"),
    "request": ("TEXT NOT NULL", "text NOT NULL"),
    "state": ("TEXT NOT NULL", "text NOT NULL"),
    "price": ("TEXT", "numeric"),
    "charge": ("TEXT", "numeric"),
    "billed": ("TEXT NOT NULL", "text NOT NULL"),
    "budget": ("TEXT", "text"),
    "account": ("TEXT NOT NULL", "text NOT NULL"),
    "worker": ("TEXT", "text"),
    "claim": ("TEXT", "text"),
    "attempts": ("INTEGER NOT NULL", "integer NOT NULL"),
    "one_shot": ("INTEGER NOT NULL", "boolean NOT NULL"),
    "task_id": ("TEXT", "text"),
    "task": ("TEXT", "text"),
    "images": ("TEXT", "text"),
    "error": ("TEXT", "text"),
    "earlier_tasks": ("TEXT NOT NULL", "text NOT NULL"),
    "sunk": ("TEXT NOT NULL", "numeric NOT NULL"),
    "alias": ("TEXT", "text"),
    "left": ("INTEGER NOT NULL", "boolean NOT NULL"),
    "joins": ("INTEGER NOT NULL", "integer NOT NULL"),
    "reported": ("TEXT", "text"),
    "settled_at": ("REAL", "double precision"),
    "unknown_since": ("REAL", "double precision"),
    "created_at": ("REAL NOT NULL", "double precision NOT NULL"),
    "begun_at": ("REAL", "double precision"),
    "updated_at": ("REAL NOT NULL", "double precision NOT NULL"),
}
MONEY: Final = frozenset({"price", "charge", "sunk"})
FLAGS: Final = frozenset({"one_shot", "left"})

QUOTED: Final = ", ".join(f'"{name}"' for name in COLUMNS)
POSTGRES_TYPES: Final = {name: types[1].removesuffix(" NOT NULL") for name, types in _TYPES.items()}


def create_statements(*, postgres: bool) -> list[str]:
    """The statements that make the tables of this version. In PostgreSQL they lie in the schema ``apimaster``."""
    prefix, place = ("apimaster.", 1) if postgres else ("", 0)
    states = ", ".join(f"'{state}'" for state in STATES)
    columns = ",\n    ".join(f'"{name}" {_TYPES[name][place]}' for name in COLUMNS)
    money, time = ("numeric", "double precision") if postgres else ("TEXT", "REAL")
    number = "integer" if postgres else "INTEGER"
    options = " WITH (fillfactor = 70)" if postgres else " WITHOUT ROWID"
    return [
        f'CREATE TABLE {prefix}purchase (\n    {columns},\n    PRIMARY KEY ("key", "index"),\n'
        f"    CHECK (\"state\" IN ({states})), CHECK (\"billed\" IN ('no', 'maybe', 'yes'))\n){options}",
        f'CREATE INDEX purchase_by_time ON {prefix}purchase ("created_at", "key", "index")',
        f'CREATE INDEX purchase_owned ON {prefix}purchase ("worker") WHERE "worker" IS NOT NULL',
        f'CREATE INDEX purchase_planned ON {prefix}purchase ("created_at") WHERE "state" = \'planned\'',
        f'CREATE INDEX purchase_unknown ON {prefix}purchase ("created_at") WHERE "state" = \'unknown\'',
        f'CREATE INDEX purchase_by_task ON {prefix}purchase ("task_id") WHERE "task_id" IS NOT NULL',
        f'CREATE INDEX purchase_by_alias ON {prefix}purchase ("alias", "created_at") WHERE "alias" IS NOT NULL',
        f"CREATE TABLE {prefix}budget (name TEXT PRIMARY KEY, max_usd {money}, max_images {number}, "
        f"usd {money} NOT NULL, images {number} NOT NULL)",
        f"CREATE TABLE {prefix}worker (id TEXT PRIMARY KEY, host TEXT NOT NULL, pid {number} NOT NULL, "
        f"seen {time} NOT NULL)",
        f"CREATE TABLE {prefix}gateway (account TEXT PRIMARY KEY, log_reads TEXT NOT NULL)",
    ]


def failed_reads(account: str) -> str:
    """The row under which the readings of an account's usage log are counted that failed."""
    return f"{account} failed"


def calls_reads(account: str) -> str:
    """The row under which the readings of an account's usage log are counted that calls made by themselves."""
    return f"{account} calls"


def noted(name: str) -> str:
    """The row under which adapters note something."""
    return f"note {name}"


def looks(account: str) -> str:
    """The row under which is counted when processes looked for purchases that others had left behind."""
    return f"{account} looks"


@dataclass(frozen=True, slots=True)
class Where:
    """Which purchases to read; what is None does not matter.

    ``since``: made then or later; ``changed_since``: their state has changed then or later;
    ``account``: those that it bought, and those of which an older version did not write down who bought them;
    ``without_task``: only those whose pictures came in a reply; ``retried``: only those with tasks of earlier attempts;
    ``owned``: only those with a process at work on them.
    """

    key: str | None = None
    index: int | None = None
    states: tuple[PurchaseState, ...] | None = None
    budget: str | None = None
    since: float | None = None
    changed_since: float | None = None
    account: str | None = None
    alias: str | None = None
    task_id: str | None = None
    task_ids: tuple[str, ...] | None = None
    without_task: bool = False
    retried: bool = False
    key_prefix: str | None = None
    keys: tuple[str, ...] | None = None
    owned: bool = False

    def sql(self) -> tuple[str, list[Any]]:
        """A condition with a question mark for each value."""
        parts, values = [], []
        for name in ("key", "index", "budget", "alias", "task_id"):
            value = getattr(self, name)
            if value is not None:
                parts.append(f'"{name}" = ?')
                values.append(value)
        if self.account is not None:
            parts.append("\"account\" IN (?, '')")
            values.append(self.account)
        if self.task_ids is not None:
            parts.append('"task_id" IN ({})'.format(", ".join("?" * len(self.task_ids)) or "NULL"))
            values.extend(self.task_ids)
        if self.keys is not None:
            parts.append('"key" IN ({})'.format(", ".join("?" * len(self.keys)) or "NULL"))
            values.extend(self.keys)
        if self.without_task:
            parts.append('"task_id" IS NULL')
        if self.owned:
            parts.append('"worker" IS NOT NULL')
        if self.retried:
            parts.append("\"earlier_tasks\" <> ''")
        if self.states is not None:
            # Written out, because a partial index serves no query whose value is not known when it is planned.
            assert all(state in STATES for state in self.states)
            equal = [f"\"state\" = '{state}'" for state in self.states]
            parts.append(f"({' OR '.join(equal) or '1 = 0'})")
        if self.since is not None:
            parts.append('"created_at" >= ?')
            values.append(self.since)
        if self.changed_since is not None:
            parts.append('"updated_at" >= ?')
            values.append(self.changed_since)
        if self.key_prefix is not None:
            parts.append('"key" >= ? AND "key" < ?')
            values += [self.key_prefix, self.key_prefix + "\U0010ffff"]
        return " AND ".join(parts) or "1 = 1", values


_PRUNABLE: Final = '"state" IN ({}) AND "worker" IS NULL AND "updated_at" < ?'.format(
    ", ".join(f"'{state}'" for state in PRUNED)
)
_ABOUT_UNKNOWN: Final = 3600  # seconds: what about the same time means
_PRUNED_NAMES: Final = 5000  # the log holds 1,000 rows

PAGE: Final = 500
"""Rows that are read at a time."""


PageKey = tuple[float, str, int]
"""Where a page ended: the time at which the last row was made, its key and its index."""


def page_key(row: Row) -> PageKey:
    """Where the page that ends with ``row`` ended."""
    return (row.created_at, row.key, row.index)


def page_query(where: Where, after: PageKey | None, limit: int, *, newest: bool, table: str) -> tuple[str, list[Any]]:
    """The query for the next purchases by the time at which they were made, with a question mark for each value."""
    condition, values = where.sql()
    order, beyond = (" DESC", "<") if newest else ("", ">")
    if after is not None:
        condition += f' AND ("created_at", "key", "index") {beyond} (?, ?, ?)'
        values += after
    query = (
        f"SELECT {QUOTED} FROM {table} WHERE {condition} "  # noqa: S608 -- names of this package
        f'ORDER BY "created_at"{order}, "key"{order}, "index"{order} LIMIT ?'
    )
    return query, [*values, limit]


def pages(read: Callable[[PageKey | None], list[Row]]) -> Iterator[list[Row]]:
    """All pages that are not empty; ``read`` gives the one after a place, with ``PAGE`` rows unless it is the last."""
    after: PageKey | None = None
    while page := read(after):
        yield page
        if len(page) < PAGE:
            return
        after = page_key(page[-1])


def count_query(where: Where, *, table: str) -> tuple[str, list[Any]]:
    """The query that counts purchases which are alike in state and money, with a question mark for each value."""
    condition, values = where.sql()
    alike = '"state", "billed", "price", "charge", "sunk"'
    return f"SELECT {alike}, count(*) FROM {table} WHERE {condition} GROUP BY {alike}", values  # noqa: S608


def owner_queries(tasks: Sequence[str], pictures: Sequence[str], *, table: str) -> list[tuple[str, list[str]]]:
    """The queries that tell who has these tasks, or these pictures without a task: each, with key and index."""
    return [
        (
            f'SELECT "{column}", "key", "index" FROM {table} '  # noqa: S608 -- names of this package
            f'WHERE "{column}" IN ({", ".join("?" * len(values))}){more}',
            list(values),
        )
        for column, values, more in (("task_id", tasks, ""), ("images", pictures, ' AND "task_id" IS NULL'))
        if values
    ]


def pruned(account: str) -> str:
    """The name of the note that keeps the tasks, and the pictures without one, of purchases that were pruned."""
    return f"pruned {account}"


def prune_query(table: str) -> str:
    """The statement that removes what ended before a time, with a question mark for it."""
    return f"DELETE FROM {table} WHERE {_PRUNABLE}"  # noqa: S608 -- names of this package


def prune_near_unknown_query(table: str) -> str:
    """The query for what of that may have been charged at about the time of a purchase of which nobody knows.

    Settling has to know later that those charges are not that purchase's: account, task and pictures of each.
    """
    begun, ended = 'coalesce({0}."begun_at", {0}."created_at")', 'coalesce({0}."unknown_since", {0}."updated_at")'
    return (
        f'SELECT "account", "task_id", "images" FROM {table} WHERE {_PRUNABLE} '  # noqa: S608 -- names of this package
        f"AND EXISTS (SELECT 1 FROM {table} AS lost WHERE lost.\"state\" = 'unknown' "
        'AND (lost."account" = purchase."account" OR lost."account" = \'\' OR purchase."account" = \'\') '
        f"AND {begun.format('purchase')} <= {ended.format('lost')} + {_ABOUT_UNKNOWN} "
        f'AND purchase."updated_at" >= {begun.format("lost")} - {_ABOUT_UNKNOWN})'
    )


def remember_pruned(stored: str | None, found: Sequence[tuple[str | None, str | None]]) -> str:
    """What a note of pruned purchases holds, with these tasks and pictures."""
    names: list[str] = json.loads(stored or "[]")
    for task_id, images in found:
        pictures = json.loads(images or "[]") if task_id is None else []
        names += [task_id] if task_id is not None else [each["url"] for each in pictures if each.get("url")]
    return json.dumps(list(dict.fromkeys(names))[-_PRUNED_NAMES:])
