"""The ledger of a folder: ``ledger.db``, SQLite. Blocking; one thread at a time (``journal.py`` sees to that).

Every step is on disk before the act that it announces: a row is ``submitting`` before its request goes out, and
``submitted`` before anybody waits for its task. So whatever moment the process dies at, the ledger says which
images may be paid for, and none of those is ever sent again by itself.

The write-ahead log is flushed to the disk's platter at each step that has to do with money (``durable``), so
those survive a power cut too; the other steps can be worked out again from the task, and only need to survive the
process.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import Final

from ..errors import BadRequestError
from .items import NOTHING, SPENT, STATES, BatchItem, State
from .lines import Line
from .schema import CHANGEABLE, COLUMNS, CREATE, FROM, VERSION, column, connect, item_of, request_text
from .steps import Kind, LedgerError, Step, Sum, told

NAME: Final = "ledger.db"
_PAGE: Final = 500
_DIED: Final = (
    "The process ended between sending the request and hearing the answer, so it may have been billed. Look at the "
    "account's usage log before asking again: a second request may be a second charge."
)


class Ledger:
    """The images of one batch and where each of them stands. Made by ``open``, ``look`` or ``trial``."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._synchronous = ""
        self._statements: dict[tuple[State, tuple[str, ...]], str] = {}

    @classmethod
    def open(cls, directory: Path) -> Ledger:
        """The ledger of a folder, for writing; a new one where there is none.

        Raises:
            BadRequestError: a newer version wrote it.
            LedgerError: the file can't be opened.
        """
        path = directory / NAME
        with told(path):
            ledger = cls(connect(str(path)))
            ledger._connection.execute("PRAGMA journal_mode = WAL")
            ledger._sync(durable=True)
            ledger._prepare(path)
        return ledger

    @classmethod
    def look(cls, directory: Path) -> Ledger:
        """The ledger of a folder, for reading; another process may be writing meanwhile.

        Raises:
            BadRequestError: there is no ledger, or a newer version wrote it.
            LedgerError: the file can't be opened.
        """
        path = directory / NAME
        if not path.exists():
            raise BadRequestError(f"There is no batch in {directory}: it holds no {NAME}.")
        with told(path):
            ledger = cls(connect(str(path), read_only=True))
            ledger._check_version(path)
        return ledger

    @classmethod
    def trial(cls, directory: Path) -> Ledger:
        """A copy in memory of a folder's ledger, or an empty one: to see what a run would do."""
        ledger = cls(connect(":memory:"))
        if (directory / NAME).exists():
            given = cls.look(directory)
            with told(directory / NAME):
                given._connection.backup(ledger._connection)
            given.close()
        ledger._prepare(directory / NAME)
        return ledger

    def _prepare(self, path: Path) -> None:
        if self._check_version(path) == 0:
            with self._transaction():
                for statement in CREATE.strip().rstrip(";").split(";\n"):
                    self._connection.execute(statement)
                self._connection.execute(f"PRAGMA user_version = {VERSION}")

    def _check_version(self, path: Path) -> int:
        version = int(self._connection.execute("PRAGMA user_version").fetchone()[0])
        if version > VERSION:
            self._connection.close()
            raise BadRequestError(f"{path} was written by a newer version of apimaster; update this one.")
        return version

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    # --- writing --------------------------------------------------------------------------------------

    def enter(self, lines: Iterable[Line]) -> int:
        """Write down new lines as planned, and which ones are asked for now. Gives how many are new.

        Lines that are not among these stay where they are; those of them that are still planned are set aside.

        Raises:
            BadRequestError: a line with a known id asks for something else than it did.
        """
        new = 0
        with self._transaction():
            self._connection.execute("UPDATE items SET listed = 0 WHERE listed = 1")
            for line in lines:
                text = request_text(line.request)
                row = self._connection.execute("SELECT id, request FROM items WHERE id = ?", (line.id,)).fetchone()
                if row is not None and row != (line.id, text):
                    raise BadRequestError(
                        f"line {line.number}: id {line.id!r} stands for another request in this folder; "
                        "give the line a new id, or use a new folder"
                    )
                tags = json.dumps(line.tags, ensure_ascii=False)
                if row is not None:
                    self._connection.execute(
                        "UPDATE items SET listed = 1, line = ?, tags = ? WHERE id = ?", (line.number, tags, line.id)
                    )
                    continue
                price = line.request.cost
                self._connection.execute(
                    "INSERT INTO items (id, line, request, tags, price) VALUES (?, ?, ?, ?, ?)",
                    (line.id, line.number, text, tags, None if price is None else str(price)),
                )
                new += 1
        return new

    def recover(self) -> int:
        """Mark what a dead process left in ``submitting`` as unknown. Gives how many there were."""
        with self._transaction():
            return self._connection.execute(
                "UPDATE items SET state = 'unknown', billed = 'maybe', error_type = 'OutcomeUnknownError', error = ?, "
                "finished_at = ? WHERE state = 'submitting'",
                (_DIED, time.time()),
            ).rowcount

    def retry(self, state: State) -> int:
        """Plan all listed images in ``state`` (``failed`` or ``unknown``) again. Gives how many.

        What an unknown one may have cost stays on the books, and so does its task's id.
        """
        with self._transaction():
            rows = self._connection.execute(
                "SELECT seq, price, sunk, task, earlier_tasks FROM items WHERE state = ? AND listed = 1", (state,)
            ).fetchall()
            for seq, price, sunk, task, earlier in rows:
                lost = Decimal(sunk) + (Decimal(price or 0) if state in SPENT else NOTHING)
                tasks = earlier if task is None else f"{earlier} {json.loads(task)['id']}".strip()
                self._connection.execute(
                    "UPDATE items SET state = 'planned', billed = 'no', task = NULL, error = NULL, error_type = NULL, "
                    "sunk = ?, earlier_tasks = ?, finished_at = NULL WHERE seq = ?",
                    (str(lost), tasks, seq),
                )
        return len(rows)

    def apply(self, steps: Sequence[Step]) -> None:
        """Write these steps in one commit: all of them or none.

        Raises:
            LedgerError: a step does not follow from the state that its row is in, or the disk refused.
        """
        self._sync(durable=any(step.durable for step in steps))
        with self._transaction():
            for step in steps:
                values = [column(name, value) for name, value in step.fields.items()]
                done = self._connection.execute(self._statement(step), (step.state, *values, step.id))
                if done.rowcount != 1:
                    raise LedgerError(f"image {step.id!r} can't become {step.state}: the ledger says it is elsewhere")

    def set_fact(self, name: str, value: str | None) -> None:
        """Keep a setting of the batch; None removes it."""
        with self._transaction():
            if value is None:
                self._connection.execute("DELETE FROM facts WHERE name = ?", (name,))
            else:
                self._connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    # --- reading --------------------------------------------------------------------------------------

    def fact(self, name: str) -> str | None:
        """A setting of the batch."""
        row = self._connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def sums(self) -> list[Sum]:
        """All images by state and price, in the order of the states."""
        rows = self._connection.execute(
            "SELECT state, listed, price, count(*), group_concat(nullif(sunk, '0'), ' ') FROM items "
            "GROUP BY state, listed, price"
        ).fetchall()
        found = [
            Sum(
                state,
                bool(listed),
                None if price is None else Decimal(price),
                count,
                sum((Decimal(part) for part in (sunk or "").split()), NOTHING),
            )
            for state, listed, price, count, sunk in rows
        ]
        return sorted(found, key=lambda each: (STATES.index(each.state), each.price or NOTHING))

    def kinds(self) -> list[Kind]:
        """The images that are to be submitted, in their order, those in a row that are alike put together."""
        rows = self._connection.execute(
            "SELECT request, price FROM items WHERE state = 'planned' AND listed = 1 ORDER BY seq"
        )
        alike = groupby(rows, key=lambda row: (*map(json.loads(row[0]).get, ("model", "resolution")), row[1]))
        return [
            Kind(model, resolution, None if price is None else Decimal(price), sum(1 for _ in group))
            for (model, resolution, price), group in alike
        ]

    def planned(self, after: int = 0) -> list[tuple[int, BatchItem]]:
        """The next page of listed images that are to be submitted, each with its place; from behind ``after`` on."""
        return self._page("state = 'planned' AND listed = 1", after)

    def under_way(self, after: int = 0) -> list[tuple[int, BatchItem]]:
        """The next page of images that are paid for and not saved, listed or not."""
        return self._page("state IN ('submitted', 'delivered')", after)

    def ended(self, after: int = 0) -> list[tuple[int, BatchItem]]:
        """The next page of listed images that are saved, failed or unknown."""
        return self._page("state IN ('saved', 'failed', 'unknown') AND listed = 1", after)

    def items(self) -> Iterator[BatchItem]:
        """All images in the order in which they were entered, read page by page."""
        after = 0
        while rows := self._page("1", after):
            yield from (item for _, item in rows)
            after = rows[-1][0]

    # --- inside ---------------------------------------------------------------------------------------

    def _page(self, which: str, after: int) -> list[tuple[int, BatchItem]]:
        query = f"SELECT seq, {COLUMNS} FROM items WHERE {which} AND seq > ? ORDER BY seq LIMIT {_PAGE}"  # noqa: S608 -- constants
        return [(row[0], item_of(row[1:])) for row in self._connection.execute(query, (after,))]

    def _statement(self, step: Step) -> str:
        key = (step.state, tuple(step.fields))
        known = self._statements.get(key)
        if known is None:
            unknown = set(key[1]) - set(CHANGEABLE)
            if unknown:
                raise LedgerError(f"a step can't set {', '.join(sorted(unknown))}")
            sets = "".join(f", {name} = ?" for name in key[1])
            more = ", attempts = attempts + 1" if step.state == "submitting" else ""
            states = ", ".join(f"'{state}'" for state in FROM[step.state])
            known = f"UPDATE items SET state = ?{sets}{more} WHERE id = ? AND state IN ({states})"  # noqa: S608 -- names of this module
            self._statements[key] = known
        return known

    def _sync(self, *, durable: bool) -> None:
        wanted = "FULL" if durable else "NORMAL"
        if wanted != self._synchronous:
            self._connection.execute(f"PRAGMA synchronous = {wanted}")
            self._synchronous = wanted

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with told(None):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")
