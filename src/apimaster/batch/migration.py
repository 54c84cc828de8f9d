"""From a folder's ledger of version 1, which was the batch's own, to the tables of ``apimaster.ledger``.

All of it is one transaction: a process that is killed in the middle leaves version 1. Version 1 allowed one process for
each folder, so nobody is at work on these images: what was being submitted is unknown.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from ..ledger.purchase import images_json, task_json
from ..ledger.rows import Row
from ..ledger.schema import VERSION, create_statements
from ..ledger.sqlite import SQLiteBackend
from ..ledger.sqlite_file import immediate, version_of
from ..ledger.steps import error_json
from ..results import GeneratedImage, Task
from .items import ZERO
from .lines import CREATE

OLD: Final = 1
_DIED: Final = "The process ended between sending the request and recording the answer."
_OLD_COLUMNS: Final = (
    "seq, id, request, state, price, task, error, error_type, billed, path, media_type, width, height, deviations, "
    "attempts, sunk, earlier_tasks, submitted_at, finished_at"
)


def migrate(connection: sqlite3.Connection, directory: Path, name: str, budget: str) -> None:
    """Bring the tables of version 1 up to date; does nothing if another process was faster.

    Args:
        connection: to the folder's file, or to a copy of it; it leaves transactions to its user.
        directory: the folder, for the paths of its pictures.
        name: of the batch: keys begin with it.
        budget: the name of the batch's budget.
    """
    with immediate(connection):
        if version_of(connection) == OLD:
            _migrate(connection, directory, name, budget)


def _migrate(connection: sqlite3.Connection, directory: Path, name: str, budget: str) -> None:
    for statement in (*create_statements(postgres=False), *CREATE):
        connection.execute(statement)
    connection.execute(
        "INSERT INTO batch_line (seq, id, line, request, tags, listed, entered) "
        "SELECT seq, id, line, request, tags, listed, 1 FROM items"
    )
    now = time.time()
    items = connection.execute(f"SELECT {_OLD_COLUMNS} FROM items ORDER BY seq")  # noqa: S608 -- constants
    usd, images = ZERO, 0

    def rows() -> Iterator[Row]:
        nonlocal usd, images
        for values in items:
            row = _row(dict(zip(_OLD_COLUMNS.split(", "), values, strict=True)), directory, name, budget, now)
            counted = row.counted()
            usd, images = usd + counted[0], images + counted[1]
            yield row

    SQLiteBackend.on(connection, str(directory)).insert(rows())
    settings = dict(connection.execute("SELECT name, value FROM facts").fetchall())
    limit = settings.get("max_images")
    connection.execute(
        "INSERT INTO budget VALUES (?, ?, ?, ?, ?)",
        (budget, settings.get("max_cost"), None if limit is None else int(limit), str(usd), images),
    )
    connection.execute("INSERT INTO batch_setting VALUES ('name', ?)", (name,))
    connection.execute("INSERT INTO batch_setting SELECT name, value FROM facts WHERE name = 'base_url'")
    connection.execute("DROP TABLE items")
    connection.execute("DROP TABLE facts")
    connection.execute(f"PRAGMA user_version = {VERSION}")


def _row(old: dict[str, Any], directory: Path, name: str, budget: str, now: float) -> Row:
    """The purchase of an image. It has no digest: the list says what was asked for, and the next call fills it in."""
    died = old["state"] == "submitting"
    task = None if old["task"] is None else Task.model_validate_json(old["task"])
    row = Row(
        f"{name}/{old['id']}",
        0,
        "",
        old["request"],
        state="unknown" if died else old["state"],
        billed="maybe" if died else old["billed"],
        price=None if old["price"] is None else Decimal(old["price"]),
        budget=budget,
        attempts=old["attempts"],
        earlier_tasks=old["earlier_tasks"],
        sunk=Decimal(old["sunk"]),
        created_at=now + old["seq"] * 1e-6,  # rows are bought in the order in which they were made
        begun_at=old["submitted_at"],
        updated_at=old["finished_at"] or old["submitted_at"] or now,
    )
    if row.state in ("planned", "failed"):
        row.billed = "no"
    if task is not None and task.id:
        row.task_id, row.task = task.id, task_json(task)
    if row.state in ("delivered", "saved"):
        row.one_shot = row.task_id is None
        row.images = images_json(_images(old, task, directory))
    if row.state == "unknown":
        row.unknown_since = row.updated_at
    if died:
        row.error = error_json("OutcomeUnknownError", _DIED, "maybe")
    elif old["error"] is not None:
        row.error = error_json(old["error_type"] or "APIMasterError", old["error"], row.billed)
    return row


def _images(old: dict[str, Any], task: Task | None, directory: Path) -> tuple[GeneratedImage, ...]:
    made = () if task is None else task.images
    if old["path"] is None:
        return made
    first = made[0] if made else GeneratedImage()
    saved = {
        "path": directory / old["path"],
        "media_type": old["media_type"],
        "width": old["width"],
        "height": old["height"],
        "deviations": tuple(json.loads(old["deviations"])),
    }
    return (first.model_copy(update=saved), *made[1:])
