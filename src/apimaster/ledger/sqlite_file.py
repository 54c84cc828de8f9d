"""A ledger's SQLite file: how it is made, opened, changed in one transaction, and brought up to date."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from ..errors import LedgerError
from .migrations import pending_statements

_BUSY: Final = 30.0  # seconds that a transaction waits for the writers before it
_SWITCH: Final = 5.0  # seconds to wait for others that switch a new file to the write-ahead log
_IN_MEMORY: Final = ":memory:"


def connect(path: Path | None) -> sqlite3.Connection:
    """A connection to a file, which is made if it is missing, with the write-ahead log; None: in memory.

    Raises:
        LedgerError: there is no such folder.
        sqlite3.Error: it can't be opened.
    """
    target = _IN_MEMORY
    if path is not None:
        if not os.path.isdir(path.parent):  # pathlib raises if a name is too long
            raise LedgerError(f"The ledger {path} can't be opened: there is no folder {path.parent}.")
        # Prompts are nobody else's business. A file that exists is not opened here: to close it would end the locks
        # that other connections of this process have on it, and another process would remove the log they use.
        with contextlib.suppress(OSError):  # sqlite3 gives the reason if it can't be made
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        target = f"file:{quote(str(path))}?mode=rw"
    connection = sqlite3.connect(
        target, uri=path is not None, isolation_level=None, check_same_thread=False, timeout=_BUSY
    )
    deadline = time.monotonic() + _SWITCH
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:  # noqa: PERF203  # another process may be switching it
            # Two processes that switch at the same moment don't wait for each other by themselves. Python 3.10 does
            # not tell which error it is.
            busy = getattr(error, "sqlite_errorname", "SQLITE_BUSY") == "SQLITE_BUSY"
            if not busy or time.monotonic() > deadline:
                connection.close()
                raise
            time.sleep(0.01)
        else:
            return connection


@contextlib.contextmanager
def immediate(connection: sqlite3.Connection) -> Iterator[Any]:
    """One transaction that no other process's comes between; the value executes statements in it.

    The connection must leave transactions to its user (``isolation_level=None``).
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection.execute
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk has ended it already
            connection.execute("ROLLBACK")
        raise


def version_of(connection: sqlite3.Connection) -> int:
    """The version of a ledger's tables; 0 if there are none."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def bring_up_to_date(connection: sqlite3.Connection, name: str) -> None:
    """Make the tables, or bring those of an earlier version up to date. Call it inside of a transaction.

    Raises:
        BadRequestError: a newer version wrote them, or one that is too old.
    """
    for statement in pending_statements(version_of(connection), name, postgres=False):  # none if others were faster
        connection.execute(statement)
