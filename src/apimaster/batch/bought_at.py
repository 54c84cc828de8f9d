"""Where a folder's pictures are bought: at a gateway, or drawn by the emulator of ``--emulator``, which costs nothing.

A folder remembers it, and goes on there only: the next command may have another base URL, and a key that pays. An
emulator ends with its command, so nobody knows its tasks any more, and its dollars are none.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from ..errors import BadRequestError
from ..ledger.schema import PAGE, Where, pages
from ..ledger.sqlite import SQLiteBackend
from ..ledger.sqlite_file import immediate
from .items import IMAGES, ZERO
from .lines import Lines
from .thumbnails import THUMBS

EMULATOR: Final = "emulator"
"""The place of a folder whose pictures an emulator drew that ended with its command."""

BOUGHT_AT: Final = "bought_at"
BASE_URL: Final = "base_url"
"""The setting of folders of earlier versions: the base URL of their last run, be it an emulator's or a gateway's."""

ELSEWHERE: Final = "--continue-elsewhere"
_PORTS: Final = {"http": 80, "https": 443}
_LEFT: Final = "images-of-the-emulator"


def place_in(lines: Lines) -> str | None:
    """Where the pictures of a folder are bought; None if it had no run yet."""
    return lines.setting(BOUGHT_AT) or lines.setting(BASE_URL)


def is_same(one: str, other: str) -> bool:
    """Whether two base URLs, or ``EMULATOR``, are one place."""
    return _compared(one) == _compared(other)


def check_place(known: str | None, here: str, *, open_there: bool, elsewhere: bool) -> None:
    """Refuse to buy at another place than before, unless the caller asks for it.

    Args:
        known: where the pictures of the folder are bought; None: nowhere yet.
        here: where this run would buy.
        open_there: whether there are pictures whose fate only ``known`` can tell.
        elsewhere: whether the caller asks for it.

    Raises:
        BadRequestError: this run must not buy here.
    """
    if known is None or is_same(known, here):
        return
    if here == EMULATOR:
        raise BadRequestError(
            f"the pictures of this folder are bought at {known}, and the emulator must not go on with them",
            advice="Name a new folder with -o.",
        )
    if known == EMULATOR:
        if not elsewhere:
            raise BadRequestError(
                f"the pictures of this folder are drawn by the emulator, and this run would buy them at {here}",
                advice=f"Go on with --emulator, or name a new folder; {ELSEWHERE} (continue_elsewhere=True) buys all "
                "pictures there.",
            )
        return
    if open_there:
        raise BadRequestError(
            f"images of this folder are under way at {known}, or unknown, and {here} would not know their tasks",
            advice=f"First resume the batch with --base-url {known}, or name a new folder.",
        )
    if not elsewhere:
        raise BadRequestError(
            f"the pictures of this folder are bought at {known}, and this run would buy at {here}",
            advice=f"Go on with --base-url {known}; {ELSEWHERE} (continue_elsewhere=True) buys the rest at {here}.",
        )


def forget_emulator(connection: sqlite3.Connection, path: str, *, keep_saved: bool) -> None:
    """Plan the pictures of an emulator that has ended again, and take them out of the limits.

    Args:
        connection: to the folder's file, or to a copy of it; it leaves transactions to its user.
        path: the file, for messages.
        keep_saved: go on with an emulator, so what is saved or failed stays; False: buy everything at a gateway.
    """
    with immediate(connection) as execute:
        if keep_saved:
            execute("DELETE FROM purchase WHERE state NOT IN ('planned', 'saved', 'failed')")
        else:
            execute("DELETE FROM purchase")
        usd, images = ZERO, 0
        backend = SQLiteBackend.on(connection, path)
        for page in pages(lambda after: backend.rows(Where(), after, PAGE)):
            for row in page:
                counted = row.counted()
                usd, images = usd + counted[0], images + counted[1]
        execute("UPDATE budget SET usd = ?, images = ?", (str(usd), images))
        execute("UPDATE batch_line SET entered = 0")


def put_pictures_aside(directory: Path) -> None:
    """Move the emulator's pictures out of the way of those that are bought, and remove their thumbnails."""
    with contextlib.suppress(FileNotFoundError):
        (directory / IMAGES).rename(_free_name(directory))
    shutil.rmtree(directory / THUMBS, ignore_errors=True)


def _free_name(directory: Path) -> Path:
    name, number = directory / _LEFT, 1
    while name.exists():
        number += 1
        name = directory / f"{_LEFT}-{number}"
    return name


def _compared(place: str) -> tuple[object, ...]:
    try:
        parts = urlsplit(place)
        return (
            parts.scheme.lower(),
            parts.hostname,
            parts.port or _PORTS.get(parts.scheme.lower()),
            parts.path.rstrip("/"),
        )
    except ValueError:
        return (place,)
