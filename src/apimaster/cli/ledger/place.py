"""Which ledger a command reads, and the times that its options name."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta, timezone
from typing import Final

from ...errors import BadRequestError, LedgerError
from ...ledger import Ledger
from ...ledger.location import LEDGER_VARIABLE, parse

_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_AGE: Final = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")


def ledger_place(given: str | None) -> str:
    """The place that ``--ledger`` or the environment names.

    Raises:
        BadRequestError: neither names one.
    """
    place = given if given is not None else os.environ.get(LEDGER_VARIABLE, "")
    if not place.strip():
        raise BadRequestError(
            "no ledger is named", advice=f"Name a file or a postgresql:// URL with --ledger, or in {LEDGER_VARIABLE}."
        )
    return place.strip()


@contextmanager
def open_ledger(given: str | None, *, make: bool = False) -> Iterator[Ledger]:
    """The ledger of a command, closed after the block. What dead processes left behind is freed first.

    ``make``: a SQLite file that is not there is made; otherwise it is an error, because a mistyped path would look like
    an empty ledger.

    Raises:
        BadRequestError: there is no such ledger, or its place is not accepted.
        LedgerError: it can't be opened.
    """
    place = ledger_place(given)
    location = parse(place)
    if location.url is None:
        if location.path is None:
            raise BadRequestError(
                f"{place} is a ledger in memory, which ends with its process", advice="Name a file or a database."
            )
        if not make and not os.path.isfile(location.path):  # pathlib raises if a name is too long
            raise BadRequestError(
                f"there is no ledger at {location.path}",
                advice="Check the path; the first purchase with a ledger makes its file.",
            )
    with Ledger.open(place) as ledger:
        with suppress(LedgerError):  # a ledger that can't be written may still be read
            ledger.reap()
        yield ledger


def moment_option(name: str, text: str) -> datetime:
    """The time that an option names: so long ago (``90s``, ``30m``, ``2h``, ``3d``, ``1w``), or an ISO date or time.

    A time without a zone is this machine's.

    Raises:
        BadRequestError: it is neither.
    """
    found = _AGE.fullmatch(text.strip().lower())
    try:
        if found is not None:
            age = timedelta(seconds=float(found[1]) * _SECONDS[found[2]])
            return datetime.now(timezone.utc) - age
        iso = re.sub(r"[zZ]$", "+00:00", text.strip())  # Python 3.10 does not read the letter
        return datetime.fromisoformat(iso).astimezone(timezone.utc)
    except (ValueError, OverflowError, OSError):
        raise BadRequestError(
            f"{name} is {text!r}; accepted: an age such as 30m, 2h or 3d, or a date such as 2026-11-25"
        ) from None
