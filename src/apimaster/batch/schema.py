"""The ledger's tables, and how one row becomes a ``BatchItem``. Money is text: SQLite has no exact decimals."""

from __future__ import annotations

import json
import sqlite3
from decimal import Decimal
from typing import Any, Final
from urllib.parse import quote

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

CHANGEABLE: Final = (
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
"""Columns that a step may set beside the state."""

FROM: Final[dict[State, tuple[State, ...]]] = {
    "planned": ("submitting",),
    "submitting": ("planned",),
    "submitted": ("submitting", "submitted"),
    "delivered": ("submitting", "submitted", "delivered"),
    "saved": ("submitting", "submitted", "delivered"),
    "failed": ("submitting", "submitted"),
    "unknown": ("submitting", "submitted", "delivered"),
}
"""Which states a step may come from. ``planned`` is also reached by ``--retry-failed`` and ``--retry-unknown``."""

COLUMNS: Final = (
    "id, line, request, tags, state, price, task, error, error_type, billed, path, media_type, width, height, "
    "deviations, attempts, sunk, submitted_at, finished_at"
)


def item_of(row: tuple[Any, ...]) -> BatchItem:
    """The item in a row of ``COLUMNS``. The ledger wrote it, so only the request is checked again."""
    (number, line, request, tags, state, price, task, error, error_type, billed, path) = row[:11]
    (media_type, width, height, deviations, attempts, sunk, submitted_at, finished_at) = row[11:]
    asked = ImageRequest.model_validate_json(request)
    known = None
    if task is not None:
        known = Task.model_validate_json(task).model_copy(update={"request": asked})
    return BatchItem.model_construct(
        id=number,
        line=line,
        request=asked,
        tags=tuple(json.loads(tags)),
        state=state,
        price=None if price is None else Decimal(price),
        task=known,
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


def request_text(request: ImageRequest) -> str:
    """A request as the ledger holds it: everything that was set, the model always, in one fixed order."""
    return request.model_dump_json(exclude_none=True)


def task_text(task: Task) -> str:
    """A task as the ledger holds it; the request stands in its own column."""
    return task.model_dump_json(exclude={"request"}, exclude_none=True)


def column(name: str, value: object) -> object:
    """A value as its column takes it."""
    if isinstance(value, Task):
        return task_text(value)
    if name == "deviations":
        return json.dumps(value, ensure_ascii=False)
    return value


def connect(path: str, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection without Python's own idea of transactions, and with patience for readers."""
    target = path if path == ":memory:" else f"file:{quote(path)}?mode={'ro' if read_only else 'rwc'}"
    return sqlite3.connect(target, uri=True, isolation_level=None, check_same_thread=False, timeout=30)
