"""Which events were handled, in a SQLite file: it outlives the process, and several processes can share it.

An event goes through these states::

    (new) ──claim──> running ──done──> done: every further delivery is a duplicate
                        │ ▲
                     failed, or the process died and its claim is over
                        ▼ │
                       failed ──claim──> running …

A claim holds for a limited time, so a process that dies keeps an event for no longer. An event that its command took,
while the process died before it could write that down, is handled once more: at least once, not exactly once.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

from ...errors import BadRequestError

Claim = Literal["claimed", "done", "running"]

KEPT: Final = 40 * 86_400.0
"""Seconds for which a handled event is remembered: the gateway delivers again for up to 30 days."""

_BUSY: Final = 20.0  # seconds that a step waits for other processes
_CLOCKS_DIFFER: Final = 60.0  # seconds: a claim that begins later was made before the clock was set back
_PRUNE_EACH: Final = 86_400.0
_TABLE: Final = """
CREATE TABLE IF NOT EXISTS events (
  id TEXT PRIMARY KEY, state TEXT NOT NULL, changed REAL NOT NULL, claimed_until REAL NOT NULL DEFAULT 0,
  attempts INTEGER NOT NULL DEFAULT 0
)
"""


class HandledEvents:
    """The file. Every method opens it anew and blocks, for some milliseconds as a rule. Times are unix seconds."""

    def __init__(self, path: Path) -> None:
        """Open or make the file.

        Raises:
            BadRequestError: it can't be opened, or is something else.
        """
        self._path = path
        self._pruned = time.time()
        try:
            if not path.exists():
                os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            with self._changes() as database:
                database.execute(_TABLE)
                self._prune(database)
        except (OSError, ValueError, sqlite3.Error) as fault:
            raise BadRequestError(
                f"the file {path} can't hold the handled events: {fault}", advice="Name another one with --events."
            ) from None

    def is_done(self, event_id: str) -> bool:
        """Whether an event was handled.

        Raises:
            sqlite3.Error: the file can't be read.
        """
        with self._changes() as database:
            found = database.execute("SELECT 1 FROM events WHERE id = ? AND state = 'done'", (event_id,)).fetchone()
        return found is not None

    def claim(self, event_id: str, seconds: float) -> Claim:
        """Begin to handle an event, and keep others from it for so many seconds.

        Returns:
            ``"claimed"``, or ``"done"`` if it was handled before, or ``"running"`` if somebody else is at it.

        Raises:
            sqlite3.Error: the file can't be written.
        """
        with self._changes() as database:
            now = time.time()  # not earlier: the claim of whoever had the file before would end in the far future
            row = database.execute(
                "SELECT state, claimed_until, changed FROM events WHERE id = ?", (event_id,)
            ).fetchone()
            if row is not None and row[0] == "done":
                return "done"
            if row is not None and row[0] == "running" and now < row[1] and row[2] < now + _CLOCKS_DIFFER:
                return "running"
            database.execute(
                "INSERT INTO events (id, state, changed, claimed_until, attempts) VALUES (?, 'running', ?, ?, 1) "
                "ON CONFLICT (id) DO UPDATE SET state = 'running', changed = excluded.changed, "
                "claimed_until = excluded.claimed_until, attempts = attempts + 1",
                (event_id, now, now + seconds),
            )
            if now - self._pruned > _PRUNE_EACH:
                self._prune(database)
        return "claimed"

    def done(self, event_id: str) -> None:
        """Note that an event was handled.

        Raises:
            sqlite3.Error: the file can't be written.
        """
        self._end(event_id, "done")

    def failed(self, event_id: str) -> int:
        """Note that handling an event failed; returns how many attempts there were since the last success or give-up.

        Raises:
            sqlite3.Error: the file can't be written.
        """
        return self._end(event_id, "failed")

    def not_tried(self, event_id: str) -> None:
        """Note that handling an event did not even begin, so that it was no attempt.

        Raises:
            sqlite3.Error: the file can't be written.
        """
        with self._changes() as database:
            database.execute(
                "UPDATE events SET state = 'failed', changed = ?, claimed_until = 0, attempts = MAX(attempts - 1, 0) "
                "WHERE id = ?",
                (time.time(), event_id),
            )

    def start_over(self, event_id: str) -> None:
        """Count the attempts at an event anew.

        Raises:
            sqlite3.Error: the file can't be written.
        """
        with self._changes() as database:
            database.execute("UPDATE events SET attempts = 0 WHERE id = ?", (event_id,))

    def _end(self, event_id: str, state: str) -> int:
        with self._changes() as database:
            database.execute(
                "UPDATE events SET state = ?, changed = ?, claimed_until = 0 WHERE id = ?",
                (state, time.time(), event_id),
            )
            (attempts,) = database.execute("SELECT attempts FROM events WHERE id = ?", (event_id,)).fetchone() or (1,)
            return int(attempts)

    def _prune(self, database: sqlite3.Connection) -> None:
        self._pruned = time.time()
        database.execute("DELETE FROM events WHERE changed < ?", (self._pruned - KEPT,))

    @contextlib.contextmanager
    def _changes(self) -> Iterator[sqlite3.Connection]:
        """One transaction that no other process's comes between, on the disk when it ends."""
        database = sqlite3.connect(self._path, timeout=_BUSY, isolation_level=None)
        try:
            database.execute("PRAGMA synchronous = FULL")
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
            except BaseException:
                database.execute("ROLLBACK")
                raise
            database.execute("COMMIT")
        finally:
            database.close()
