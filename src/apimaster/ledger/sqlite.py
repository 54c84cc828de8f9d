"""A ledger in a SQLite file, for many processes on one machine.

The write-ahead log lets others read while one process writes. Writers take turns: each transaction begins with
``BEGIN IMMEDIATE``, so what it reads does not change before it writes. Steps that concern money are flushed to the disk
and survive a power cut; the others survive the process.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from ..errors import LedgerError
from .backend import Answer, Worker, apply_group, budget_names, count_log_read, given_away, row_ids
from .migrations import pending_statements
from .rows import COLUMNS, Books, BudgetRow, Row, RowCount, RowId
from .schema import (
    FLAGS,
    MONEY,
    QUOTED,
    PageKey,
    Where,
    count_query,
    noted,
    owner_queries,
    page_query,
    prune_near_unknown_query,
    prune_query,
    pruned,
    remember_pruned,
)
from .sqlite_file import bring_up_to_date, connect, immediate, version_of
from .steps import Step, must_survive_power_cut

_KEYS_AT_ONCE: Final = 400  # two values each; SQLite took at most 999 in a statement for a long time

_MONEY: Final = [COLUMNS.index(name) for name in MONEY]
_FLAGS: Final = [COLUMNS.index(name) for name in FLAGS]

_INSERT: Final = f"INSERT INTO purchase ({QUOTED}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608 -- constants
_BEAT: Final = "INSERT INTO worker VALUES (?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET seen = excluded.seen"


class SQLiteBackend:
    """One SQLite file; None: a ledger in this process's memory."""

    def __init__(self, path: Path | None) -> None:
        self.name = "in memory" if path is None else str(path)
        self._synchronous = ""
        with self._errors():
            self._connection = connect(path)
            try:
                self._create_tables()
            except BaseException:
                self._connection.close()
                raise

    @classmethod
    def on(cls, connection: sqlite3.Connection, name: str) -> SQLiteBackend:
        """A ledger on a connection that is open already, and holds the tables of this version.

        The connection must leave transactions to its user (``isolation_level=None``).
        """
        made = object.__new__(cls)
        made.name, made._synchronous, made._connection = name, "", connection
        return made

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection, for who keeps tables of its own in the same file."""
        return self._connection

    def apply(self, steps: Sequence[Step], worker: Worker, *, lease: float, beat: bool) -> list[Answer]:
        with self._transaction(durable=must_survive_power_cut(steps)) as execute:
            now = time.time()
            if beat:
                execute(_BEAT, (worker.id, worker.host, worker.pid, now))
            books = Books(now, worker.id)
            loaded = {row.id: row for row in self._load(row_ids(steps))}
            books.rows.update(loaded)
            for name in budget_names(steps, list(books.rows.values())):
                for found in execute("SELECT * FROM budget WHERE name = ?", (name,)):
                    books.budgets[name] = _budget(found)
            for query, wanted in owner_queries(*given_away(steps), table="purchase"):
                books.owners.update({given: (key, index) for given, key, index in execute(query, wanted)})
            owners = {row.worker for row in books.rows.values() if row.worker not in (None, worker.id)}
            if owners:
                alive = execute("SELECT id FROM worker WHERE seen > ?", (now - lease,))
                books.alive = frozenset(owners & {name for (name,) in alive})
            answers = apply_group(books, steps)
            if books.added:
                self._connection.executemany(_INSERT, [_values(books.rows[each]) for each in books.added])
            self._update([(loaded[each], books.rows[each]) for each in books.changed - books.added])
            for name in books.touched:
                budget = books.budgets[name]
                execute("UPDATE budget SET usd = ?, images = ? WHERE name = ?", (str(budget.usd), budget.images, name))
        return answers

    def beat(self, worker: Worker) -> None:
        with self._transaction(durable=False) as execute:
            now = time.time()
            execute(_BEAT, (worker.id, worker.host, worker.pid, now))
            execute("DELETE FROM worker WHERE seen < ?", (now - 86400,))

    def leave(self, worker: Worker) -> None:
        with self._transaction(durable=False) as execute:
            execute("DELETE FROM worker WHERE id = ?", (worker.id,))

    def orphans(self, lease: float) -> list[RowId]:
        with self._errors():
            return self._connection.execute(
                'SELECT "key", "index" FROM purchase WHERE "worker" IS NOT NULL '
                "AND NOT EXISTS (SELECT 1 FROM worker WHERE id = purchase.worker AND seen > ?)",
                (time.time() - lease,),
            ).fetchall()

    def rows(self, where: Where, after: PageKey | None, limit: int, *, newest: bool = False) -> list[Row]:
        query, values = page_query(where, after, limit, newest=newest, table="purchase")
        with self._errors():
            return [_row(each) for each in self._connection.execute(query, values)]

    def counts(self, where: Where) -> list[RowCount]:
        query, values = count_query(where, table="purchase")
        with self._errors():
            found = self._connection.execute(query, values).fetchall()
        return [
            RowCount(state, billed, _money(price), _money(charge), Decimal(sunk), count)
            for state, billed, price, charge, sunk, count in found
        ]

    def workers(self, where: Where, lease: float) -> list[Worker]:
        condition, values = where.sql()
        query = (
            "SELECT id, host, pid FROM worker WHERE seen > ? AND id IN "  # noqa: S608 -- names of this package
            f'(SELECT "worker" FROM purchase WHERE "worker" IS NOT NULL AND {condition}) ORDER BY host, pid'
        )
        with self._errors():
            return [Worker(*each) for each in self._connection.execute(query, [time.time() - lease, *values])]

    def plan(self, rows: Sequence[Row]) -> int:
        with self._transaction(durable=False):
            return self.insert(rows)

    def insert(self, rows: Iterable[Row]) -> int:
        """``plan`` inside of a transaction that is open, for who brings older tables up to date."""
        before = self._connection.total_changes
        self._connection.executemany(f"{_INSERT} ON CONFLICT DO NOTHING", map(_values, rows))
        return self._connection.total_changes - before

    def budgets(self) -> list[BudgetRow]:
        with self._errors():
            return [_budget(each) for each in self._connection.execute("SELECT * FROM budget ORDER BY name")]

    def set_budget(self, name: str, max_usd: Decimal | None, max_images: int | None) -> BudgetRow:
        with self._transaction(durable=True) as execute:
            limits = (None if max_usd is None else str(max_usd), max_images)
            execute(
                "INSERT INTO budget VALUES (?, ?, ?, '0', 0) ON CONFLICT (name) DO UPDATE SET "
                "max_usd = excluded.max_usd, max_images = excluded.max_images",
                (name, *limits),
            )
            return _budget(execute("SELECT * FROM budget WHERE name = ?", (name,)).fetchone())

    def prune(self, before: float) -> int:
        with self._transaction(durable=True) as execute:
            kept: dict[str, list[tuple[str | None, str | None]]] = {}
            for account, task_id, images in execute(prune_near_unknown_query("purchase"), (before,)):
                kept.setdefault(noted(pruned(account)), []).append((task_id, images))
            for name, found in kept.items():
                names = remember_pruned(self._gateway_row(name), found)
                execute("INSERT OR REPLACE INTO gateway VALUES (?, ?)", (name, names))
            removed: int = execute(prune_query("purchase"), (before,)).rowcount
            return removed

    def reserve_log_read(
        self, account: str, *, limit: int, period: float, pause: float = 0.0, count: bool = True
    ) -> float:
        with self._transaction(durable=False) as execute:
            now = time.time()
            stored = self._gateway_row(account)
            wait, reads = count_log_read(stored, now, limit=limit, period=period, pause=pause)
            if count and not wait:
                execute("INSERT OR REPLACE INTO gateway VALUES (?, ?)", (account, reads))
            return wait

    def note(self, name: str) -> str | None:
        with self._errors():
            return self._gateway_row(noted(name))

    def set_note(self, name: str, text: str) -> None:
        with self._transaction(durable=True) as execute:
            execute("INSERT OR REPLACE INTO gateway VALUES (?, ?)", (noted(name), text))

    def change_note(self, name: str, change: Callable[[str | None], str]) -> None:
        with self._transaction(durable=True) as execute:
            before = self._gateway_row(noted(name))
            text = change(before)
            if text != before:
                execute("INSERT OR REPLACE INTO gateway VALUES (?, ?)", (noted(name), text))

    def now(self) -> float:
        return time.time()

    def close(self) -> None:
        self._connection.close()

    # --- inside ---------------------------------------------------------------------------------------

    def _gateway_row(self, name: str) -> str | None:
        query = "SELECT log_reads FROM gateway WHERE account = ?"
        found = self._connection.execute(query, (name,)).fetchone()
        return found[0] if found else None

    def _create_tables(self) -> None:
        if pending_statements(version_of(self._connection), self.name, postgres=False):
            with self._transaction(durable=True):
                bring_up_to_date(self._connection, self.name)

    def _load(self, ids: list[RowId]) -> Iterator[Row]:
        for start in range(0, len(ids), _KEYS_AT_ONCE):
            part = ids[start : start + _KEYS_AT_ONCE]
            marks = ", ".join(["(?, ?)"] * len(part))
            # A cross join looks each of them up. SQLite would answer IN (VALUES …) from the whole table.
            found = self._connection.execute(
                f"WITH wanted(name, number) AS (VALUES {marks}) SELECT {QUOTED} FROM wanted CROSS JOIN purchase "  # noqa: S608
                'ON "key" = name AND "index" = number',
                [value for each in part for value in each],
            )
            yield from map(_row, found.fetchall())

    def _update(self, changes: Iterable[tuple[Row, Row]]) -> None:
        """Write the columns that differ: each index of a column that is written costs as much as the row."""
        alike: dict[tuple[int, ...], list[list[Any]]] = {}
        for before, after in changes:
            pairs = zip(before.values(), after.values(), strict=True)
            places = tuple([place for place, (old, new) in enumerate(pairs) if old is not new and old != new])
            new = _values(after)
            alike.setdefault(places, []).append([*(new[place] for place in places), after.key, after.index])
        for places, values in alike.items():
            if places:
                sets = ", ".join(f'"{COLUMNS[place]}" = ?' for place in places)
                self._connection.executemany(
                    f'UPDATE purchase SET {sets} WHERE "key" = ? AND "index" = ?',  # noqa: S608 -- names of this package
                    values,
                )

    @contextlib.contextmanager
    def _transaction(self, *, durable: bool) -> Iterator[Any]:
        """One transaction; the value executes statements in it."""
        with self._errors():
            mode = "FULL" if durable else "NORMAL"
            if mode != self._synchronous:
                self._connection.execute(f"PRAGMA synchronous = {mode}")
                self._synchronous = mode
            with immediate(self._connection) as execute:
                yield execute

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise LedgerError(f"The ledger {self.name} can't be used: {error}.") from error


def _values(row: Row) -> list[Any]:
    values = list(row.values())
    for place in _MONEY:
        if values[place] is not None:
            values[place] = str(values[place])
    return values


def _row(values: Sequence[Any]) -> Row:
    known = list(values)
    for place in _MONEY:
        if known[place] is not None:
            known[place] = Decimal(known[place])
    for place in _FLAGS:
        known[place] = bool(known[place])
    return Row(*known)


def _money(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def _budget(values: Sequence[Any]) -> BudgetRow:
    name, max_usd, max_images, usd, images = values
    return BudgetRow(name, None if max_usd is None else Decimal(max_usd), max_images, Decimal(usd), images)
