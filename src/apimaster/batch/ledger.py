"""The ledger of a folder: ``ledger.db``, SQLite. Blocking; one thread at a time (see ``ledger_writer.py``).

The ledger stores each transition before the act that it announces: a row is ``submitting`` before its request goes
out, and ``submitted`` before the batch waits for its task. So at whatever moment the process dies, the ledger says
which images may be paid for, and the batch never sends one of those again by itself.

SQLite flushes its write-ahead log to the disk at each transition that concerns money (``durable``), so those survive a
power cut. The other transitions only survive the process: after a power cut, a poll of the task finds them again.
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

from ..errors import BadRequestError, LedgerError
from .image_list import PlannedImage
from .items import SPENT, STATES, ZERO, BatchItem, State
from .ledger_records import PlannedGroup, StateCount, Transition
from .ledger_schema import (
    CHANGEABLE_COLUMNS,
    COLUMNS,
    CREATE,
    STATES_BEFORE,
    VERSION,
    as_ledger_errors,
    column_value,
    connect,
    item_from_row,
    request_json,
)

LEDGER_NAME: Final = "ledger.db"
_CHUNK: Final = 500
"""Rows that are read at a time."""
_DIED: Final = "The process ended between sending the request and recording the answer."


def read_items(directory: Path) -> Iterator[BatchItem]:
    """All images of a folder, in order. Another process may be running the batch meanwhile.

    Raises:
        BadRequestError: there is no batch in the folder.
    """
    ledger = BatchLedger.open_read_only(directory)
    try:
        yield from ledger.items()
    finally:
        ledger.close()


def no_batch_in(directory: Path) -> BadRequestError:
    """The error for a folder without a ledger."""
    return BadRequestError(
        f"There is no batch in {directory}: it holds no {LEDGER_NAME}.",
        advice="Name the folder of an earlier run, or give the list of images.",
    )


class BatchLedger:
    """The images of one batch and their states. ``open``, ``open_read_only`` and ``copy_in_memory`` make one."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._synchronous = ""
        self._statements: dict[tuple[State, tuple[str, ...]], str] = {}

    @classmethod
    def open(cls, directory: Path) -> BatchLedger:
        """The ledger of a folder, for writing; a new one if there is none.

        Raises:
            BadRequestError: a newer version wrote it.
            LedgerError: the file can't be opened.
        """
        path = directory / LEDGER_NAME
        with as_ledger_errors(path):
            ledger = cls(connect(str(path)))
            ledger._connection.execute("PRAGMA journal_mode = WAL")
            ledger._set_synchronous(durable=True)
            ledger._create_tables(path)
        return ledger

    @classmethod
    def open_read_only(cls, directory: Path) -> BatchLedger:
        """The ledger of a folder, for reading; another process may be writing meanwhile.

        Raises:
            BadRequestError: there is no ledger, or a newer version wrote it.
            LedgerError: the file can't be opened.
        """
        path = directory / LEDGER_NAME
        if not path.exists():
            raise no_batch_in(directory)
        with as_ledger_errors(path):
            ledger = cls(connect(str(path), read_only=True))
            ledger._check_version(path)
        return ledger

    @classmethod
    def copy_in_memory(cls, directory: Path) -> BatchLedger:
        """A copy of a folder's ledger in memory, or an empty one: shows what a run would do, and changes no file."""
        ledger = cls(connect(":memory:"))
        if (directory / LEDGER_NAME).exists():
            original = cls.open_read_only(directory)
            with as_ledger_errors(directory / LEDGER_NAME):
                original._connection.backup(ledger._connection)
            original.close()
        ledger._create_tables(directory / LEDGER_NAME)
        return ledger

    def _create_tables(self, path: Path) -> None:
        if self._check_version(path) == 0:
            with self._transaction():
                for statement in CREATE.strip().rstrip(";").split(";\n"):
                    self._connection.execute(statement)
                self._connection.execute(f"PRAGMA user_version = {VERSION}")

    def _check_version(self, path: Path) -> int:
        version = int(self._connection.execute("PRAGMA user_version").fetchone()[0])
        if version > VERSION:
            self._connection.close()
            raise BadRequestError(
                f"{path} was written by a newer version of apimaster.", advice="Update this installation of apimaster."
            )
        return version

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    # --- writing --------------------------------------------------------------------------------------

    def update_list(self, images: Iterable[PlannedImage]) -> int:
        """Add new images as planned, and mark these images as the listed ones. Gives how many are new.

        Images that the list does not name keep their state; those of them that are still planned are set aside.

        Raises:
            BadRequestError: an image with a known id has another request than before.
        """
        new = 0
        with self._transaction():
            self._connection.execute("UPDATE items SET listed = 0 WHERE listed = 1")
            for image in images:
                request = request_json(image.request)
                row = self._connection.execute("SELECT id, request FROM items WHERE id = ?", (image.id,)).fetchone()
                if row is not None and row != (image.id, request):
                    raise BadRequestError(
                        f"line {image.line}: id {image.id!r} stands for another request in this folder",
                        advice="Give the line a new id, or use a new folder.",
                    )
                tags = json.dumps(image.tags, ensure_ascii=False)
                if row is not None:
                    self._connection.execute(
                        "UPDATE items SET listed = 1, line = ?, tags = ? WHERE id = ?", (image.line, tags, image.id)
                    )
                    continue
                price = image.request.cost
                self._connection.execute(
                    "INSERT INTO items (id, line, request, tags, price) VALUES (?, ?, ?, ?, ?)",
                    (image.id, image.line, request, tags, None if price is None else str(price)),
                )
                new += 1
        return new

    def recover(self) -> int:
        """Mark images that a dead process left in ``submitting`` as unknown. Gives how many there were."""
        with self._transaction():
            return self._connection.execute(
                "UPDATE items SET state = 'unknown', billed = 'maybe', error_type = 'OutcomeUnknownError', error = ?, "
                "finished_at = ? WHERE state = 'submitting'",
                (_DIED, time.time()),
            ).rowcount

    def retry(self, state: State) -> int:
        """Plan all listed images in ``state`` (``failed`` or ``unknown``) again. Gives how many.

        The ledger keeps what an unknown image may have cost, and its task's id.
        """
        with self._transaction():
            rows = self._connection.execute(
                "SELECT seq, price, sunk, task, earlier_tasks FROM items WHERE state = ? AND listed = 1", (state,)
            ).fetchall()
            for seq, price, sunk, task, earlier in rows:
                lost = Decimal(sunk) + (Decimal(price or 0) if state in SPENT else ZERO)
                tasks = earlier if task is None else f"{earlier} {json.loads(task)['id']}".strip()
                self._connection.execute(
                    "UPDATE items SET state = 'planned', billed = 'no', task = NULL, error = NULL, error_type = NULL, "
                    "sunk = ?, earlier_tasks = ?, finished_at = NULL WHERE seq = ?",
                    (str(lost), tasks, seq),
                )
        return len(rows)

    def apply(self, transitions: Sequence[Transition]) -> None:
        """Store these transitions in one commit: all of them or none.

        Raises:
            LedgerError: a transition does not follow from the state of its row, or the disk refused.
        """
        self._set_synchronous(durable=any(each.durable for each in transitions))
        with self._transaction():
            for each in transitions:
                values = [column_value(name, value) for name, value in each.fields.items()]
                done = self._connection.execute(self._statement(each), (each.state, *values, each.id))
                if done.rowcount != 1:
                    raise LedgerError(
                        f"image {each.id!r} can't become {each.state}: in the ledger it is in a state "
                        "that does not lead there"
                    )

    def set_setting(self, name: str, value: str | None) -> None:
        """Store a setting of the batch; None removes it."""
        with self._transaction():
            if value is None:
                self._connection.execute("DELETE FROM facts WHERE name = ?", (name,))
            else:
                self._connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    # --- reading --------------------------------------------------------------------------------------

    def setting(self, name: str) -> str | None:
        """A setting of the batch."""
        row = self._connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def state_counts(self) -> list[StateCount]:
        """All images by state and price, in the order of the states."""
        rows = self._connection.execute(
            "SELECT state, listed, price, count(*), group_concat(nullif(sunk, '0'), ' ') FROM items "
            "GROUP BY state, listed, price"
        ).fetchall()
        found = [
            StateCount(
                state,
                bool(listed),
                None if price is None else Decimal(price),
                count,
                sum((Decimal(part) for part in (sunk or "").split()), ZERO),
            )
            for state, listed, price, count, sunk in rows
        ]
        return sorted(found, key=lambda each: (STATES.index(each.state), each.price or ZERO))

    def planned_groups(self) -> list[PlannedGroup]:
        """The images to submit, in their order, grouped while model, resolution and price stay the same."""
        rows = self._connection.execute(
            "SELECT request, price FROM items WHERE state = 'planned' AND listed = 1 ORDER BY seq"
        )
        groups = groupby(rows, key=lambda row: (*map(json.loads(row[0]).get, ("model", "resolution")), row[1]))
        return [
            PlannedGroup(model, resolution, None if price is None else Decimal(price), sum(1 for _ in group))
            for (model, resolution, price), group in groups
        ]

    def planned(self, after: int = 0) -> list[tuple[int, BatchItem]]:
        """The next listed images to submit, each with its number in the ledger; ``after`` is the last number seen."""
        return self._read_chunk("state = 'planned' AND listed = 1", after)

    def under_way(self, after: int = 0) -> list[tuple[int, BatchItem]]:
        """The next images that are paid for and not saved, listed or not; as ``planned``."""
        return self._read_chunk("state IN ('submitted', 'delivered')", after)

    def ended(self, after: int = 0) -> list[tuple[int, BatchItem]]:
        """The next listed images that are saved, failed or unknown; as ``planned``."""
        return self._read_chunk("state IN ('saved', 'failed', 'unknown') AND listed = 1", after)

    def items(self) -> Iterator[BatchItem]:
        """All images, in the order in which the ledger got them."""
        after = 0
        while rows := self._read_chunk("1", after):
            yield from (item for _, item in rows)
            after = rows[-1][0]

    # --- inside ---------------------------------------------------------------------------------------

    def _read_chunk(self, condition: str, after: int) -> list[tuple[int, BatchItem]]:
        query = f"SELECT seq, {COLUMNS} FROM items WHERE {condition} AND seq > ? ORDER BY seq LIMIT {_CHUNK}"  # noqa: S608 -- constants
        return [(row[0], item_from_row(row[1:])) for row in self._connection.execute(query, (after,))]

    def _statement(self, transition: Transition) -> str:
        key = (transition.state, tuple(transition.fields))
        known = self._statements.get(key)
        if known is None:
            unknown = set(key[1]) - set(CHANGEABLE_COLUMNS)
            if unknown:
                raise LedgerError(f"a transition can't set {', '.join(sorted(unknown))}")
            sets = "".join(f", {name} = ?" for name in key[1])
            more = ", attempts = attempts + 1" if transition.state == "submitting" else ""
            states = ", ".join(f"'{state}'" for state in STATES_BEFORE[transition.state])
            known = f"UPDATE items SET state = ?{sets}{more} WHERE id = ? AND state IN ({states})"  # noqa: S608 -- names of this module
            self._statements[key] = known
        return known

    def _set_synchronous(self, *, durable: bool) -> None:
        mode = "FULL" if durable else "NORMAL"
        if mode != self._synchronous:
            self._connection.execute(f"PRAGMA synchronous = {mode}")
            self._synchronous = mode

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with as_ledger_errors(None):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")
