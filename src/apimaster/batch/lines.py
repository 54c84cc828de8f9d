"""What a batch's folder knows beside the purchases: the lines of the list, and the settings of the batch.

Two tables in the folder's ``ledger.db``, next to the tables of the ledger. Of money and states they say nothing: that
is the ledger's, which lies in the same file or, if several batches share one, elsewhere.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from ..errors import BadRequestError, LedgerError
from ..ledger.sqlite_file import immediate
from .image_list import PlannedImage
from .items import request_json

CREATE: Final = (
    """CREATE TABLE IF NOT EXISTS batch_line (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE COLLATE NOCASE,
    line INTEGER NOT NULL,
    request TEXT NOT NULL,
    tags TEXT NOT NULL,
    listed INTEGER NOT NULL DEFAULT 1,
    entered INTEGER NOT NULL DEFAULT 0
)""",
    "CREATE INDEX IF NOT EXISTS batch_line_aside ON batch_line (seq) WHERE listed = 0",
    "CREATE INDEX IF NOT EXISTS batch_line_new ON batch_line (seq) WHERE entered = 0",
    "CREATE TABLE IF NOT EXISTS batch_setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
)
"""``listed``: the newest list names the line; ``entered``: the ledger has a row for it."""

PAGE: Final = 500
"""Lines that are read at a time."""

_COLUMNS: Final = "seq, id, line, request, tags, listed"


class Line(NamedTuple):
    """One image of the list."""

    seq: int
    id: str
    line: int
    request: str
    tags: str
    listed: int


def connect(path: Path | None, mode: str = "rw") -> sqlite3.Connection:
    """A connection that leaves transactions to its user, and waits while another process writes; None: in memory."""
    target = ":memory:" if path is None else f"file:{quote(str(path))}?mode={mode}"
    return sqlite3.connect(target, uri=True, isolation_level=None, check_same_thread=False, timeout=30)


def connect_to_read(path: Path) -> sqlite3.Connection:
    """The same, for reading only."""
    connection = connect(path, "ro")
    try:
        connection.execute("PRAGMA schema_version")
    except sqlite3.OperationalError:
        connection.close()  # a process was killed while it wrote: only who may write can take that back
        return connect(path)
    return connection


@contextlib.contextmanager
def as_ledger_errors(path: Path | None) -> Iterator[None]:
    """Turn SQLite's errors into ``LedgerError``, which names the file."""
    try:
        yield
    except sqlite3.Error as error:
        raise LedgerError(f"The ledger{f' {path}' if path else ''} can't be used: {error}.") from error


class Lines:
    """The lines and settings of a batch. Blocks; any thread may use it.

    Args:
        connection: to the folder's file, or to a copy of it.
        path: the file, for messages.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._lock = threading.Lock()

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection, for whoever is alone with it."""
        return self._connection

    def create_tables(self) -> None:
        """Make the tables if there are none."""
        with self._transaction() as execute:
            for statement in CREATE:
                execute(statement)

    def exist(self) -> bool:
        """Whether the file holds a batch."""
        return bool(self._read("SELECT 1 FROM sqlite_master WHERE name = 'batch_line'"))

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    # --- settings -------------------------------------------------------------------------------------

    def setting(self, name: str) -> str | None:
        """A setting of the batch."""
        found = self._read("SELECT value FROM batch_setting WHERE name = ?", name)
        return str(found[0][0]) if found else None

    def store_settings(self, settings: Mapping[str, str | None]) -> None:
        """Store settings of the batch; None leaves one out."""
        with self._transaction() as execute:
            for name, value in settings.items():
                if value is not None:
                    execute("INSERT OR REPLACE INTO batch_setting VALUES (?, ?)", (name, value))

    # --- the list -------------------------------------------------------------------------------------

    def update_list(self, images: Iterable[PlannedImage]) -> int:
        """Add new images, and mark these images as the listed ones. Gives how many are new.

        Raises:
            BadRequestError: an image with a known id has another request than before.
        """
        new = 0
        with self._transaction() as execute:
            execute("UPDATE batch_line SET listed = 0 WHERE listed = 1")
            for image in images:
                request = request_json(image.request)
                row = execute("SELECT id, request FROM batch_line WHERE id = ?", (image.id,)).fetchone()
                if row is not None and row != (image.id, request):
                    raise BadRequestError(
                        f"line {image.line}: id {image.id!r} stands for another request in this folder",
                        advice="Give the line a new id, or use a new folder.",
                    )
                tags = json.dumps(image.tags, ensure_ascii=False)
                if row is not None:
                    execute(
                        "UPDATE batch_line SET listed = 1, line = ?, tags = ? WHERE id = ?",
                        (image.line, tags, image.id),
                    )
                    continue
                execute(
                    "INSERT INTO batch_line (id, line, request, tags) VALUES (?, ?, ?, ?)",
                    (image.id, image.line, request, tags),
                )
                new += 1
        return new

    def not_entered(self, after: int) -> list[Line]:
        """The next lines for which the ledger may have no row; ``after`` is the last ``seq`` that was read."""
        return self._page("entered = 0", after)

    def mark_entered(self) -> None:
        """Note that the ledger has a row for every line."""
        with self._transaction() as execute:
            execute("UPDATE batch_line SET entered = 1 WHERE entered = 0")

    # --- reading --------------------------------------------------------------------------------------

    def pages(self, *, listed: bool = False) -> Iterator[list[Line]]:
        """All lines in their order, or the listed ones, some at a time."""
        return self._pages("listed = 1" if listed else "1")

    def set_aside(self) -> Iterator[list[Line]]:
        """The lines that the newest list does not name, some at a time."""
        return self._pages("listed = 0")

    def of(self, names: Sequence[str]) -> dict[str, Line]:
        """The lines with these ids."""
        marks = ", ".join("?" * len(names))
        found = self._read(f"SELECT {_COLUMNS} FROM batch_line WHERE id IN ({marks})", *names)  # noqa: S608 -- marks
        return {line.id: line for line in map(Line._make, found)}

    # --- inside ---------------------------------------------------------------------------------------

    def _pages(self, condition: str) -> Iterator[list[Line]]:
        after = 0
        while page := self._page(condition, after):
            yield page
            after = page[-1].seq

    def _page(self, condition: str, after: int) -> list[Line]:
        query = f"SELECT {_COLUMNS} FROM batch_line WHERE {condition} AND seq > ? ORDER BY seq LIMIT {PAGE}"  # noqa: S608 -- constants
        return [Line._make(each) for each in self._read(query, after)]

    def _read(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with as_ledger_errors(self._path), self._lock:
            return self._connection.execute(query, values).fetchall()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[Any]:
        with as_ledger_errors(self._path), self._lock, immediate(self._connection) as execute:
            yield execute
