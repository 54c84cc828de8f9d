"""The ledger's tables, and how a row becomes a ``BatchItem``. Money is text, because SQLite has no exact decimals."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from ..errors import LedgerError
from ..request import ImageRequest
from ..results import Task
from .items import BatchItem, State

VERSION: Final = 1

CREATE: Final = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE items (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE COLLATE NOCASE,
    line INTEGER NOT NULL,
    request TEXT NOT NULL,
    tags TEXT NOT NULL,
    price TEXT,
    listed INTEGER NOT NULL DEFAULT 1,
    state TEXT NOT NULL DEFAULT 'planned' CHECK (
        state IN ('planned', 'submitting', 'submitted', 'delivered', 'saved', 'failed', 'unknown')
    ),
    task TEXT,
    error TEXT,
    error_type TEXT,
    billed TEXT NOT NULL DEFAULT 'no' CHECK (billed IN ('no', 'maybe', 'yes')),
    path TEXT,
    media_type TEXT,
    width INTEGER,
    height INTEGER,
    deviations TEXT NOT NULL DEFAULT '[]',
    attempts INTEGER NOT NULL DEFAULT 0,
    sunk TEXT NOT NULL DEFAULT '0',
    earlier_tasks TEXT NOT NULL DEFAULT '',
    submitted_at REAL,
    finished_at REAL
);
CREATE INDEX items_by_state ON items (state, seq);
"""
"""``facts`` holds the settings of the batch; ``listed`` says whether the newest list names the image."""

CHANGEABLE_COLUMNS: Final = (
    "task",
    "error",
    "error_type",
    "billed",
    "path",
    "media_type",
    "width",
    "height",
    "deviations",
    "submitted_at",
    "finished_at",
)
"""Columns that a transition may set beside the state."""

STATES_BEFORE: Final[dict[State, tuple[State, ...]]] = {
    "planned": ("submitting",),
    "submitting": ("planned",),
    "submitted": ("submitting", "submitted"),
    "delivered": ("submitting", "submitted", "delivered"),
    "saved": ("submitting", "submitted", "delivered"),
    "failed": ("submitting", "submitted"),
    "unknown": ("submitting", "submitted", "delivered"),
}
"""For each state, the states that a transition to it may start from. ``--retry-failed`` and ``--retry-unknown`` also
lead to ``planned``, by ``BatchLedger.retry``."""

COLUMNS: Final = (
    "id, line, request, tags, state, price, task, error, error_type, billed, path, media_type, width, height, "
    "deviations, attempts, sunk, submitted_at, finished_at"
)


def item_from_row(row: tuple[Any, ...]) -> BatchItem:
    """The item in a row of ``COLUMNS``. The ledger wrote the row, so only the request is checked again."""
    (name, line, request, tags, state, price, task, error, error_type, billed, path) = row[:11]
    (media_type, width, height, deviations, attempts, sunk, submitted_at, finished_at) = row[11:]
    image_request = ImageRequest.model_validate_json(request)
    known_task = None
    if task is not None:
        known_task = Task.model_validate_json(task).model_copy(update={"request": image_request})
    return BatchItem.model_construct(
        id=name,
        line=line,
        request=image_request,
        tags=tuple(json.loads(tags)),
        state=state,
        price=None if price is None else Decimal(price),
        task=known_task,
        error=error,
        error_type=error_type,
        billed=billed,
        path=path,
        media_type=media_type,
        width=width,
        height=height,
        deviations=tuple(json.loads(deviations)),
        attempts=attempts,
        sunk=Decimal(sunk),
        submitted_at=submitted_at,
        finished_at=finished_at,
    )


def request_json(request: ImageRequest) -> str:
    """A request as the ledger stores it: every field that is set, and always the model, in one fixed order."""
    return request.model_dump_json(exclude_none=True)


def task_json(task: Task) -> str:
    """A task as the ledger stores it, without its request, which has a column of its own."""
    return task.model_dump_json(exclude={"request"}, exclude_none=True)


def column_value(name: str, value: object) -> object:
    """A value in the form that its column stores."""
    if isinstance(value, Task):
        return task_json(value)
    if name == "deviations":
        return json.dumps(value, ensure_ascii=False)
    return value


def connect(path: str, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection that leaves transactions to the caller, and waits up to 30 s while another process writes."""
    target = path if path == ":memory:" else f"file:{quote(path)}?mode={'ro' if read_only else 'rwc'}"
    return sqlite3.connect(target, uri=True, isolation_level=None, check_same_thread=False, timeout=30)


@contextlib.contextmanager
def as_ledger_errors(path: Path | None) -> Iterator[None]:
    """Turn SQLite's errors into ``LedgerError``, which names the file."""
    try:
        yield
    except sqlite3.Error as error:
        raise LedgerError(f"The ledger{f' {path}' if path else ''} can't be used: {error}.") from error
