"""When to look into the usage log for an unknown purchase. Pure."""

from __future__ import annotations

from typing import Final

from .rows import Row

SETTLE_AGAIN: Final = 600.0
"""Seconds between two looks into the usage log for one purchase: it may be read 15 times in 20 minutes."""
LOOK_FOR: Final = 3600.0
"""Seconds after which nobody looks for a purchase any more, unless somebody asks for it."""


def settling_is_due(row: Row, now: float, settle_after: float) -> bool:
    """Whether to look into the usage log: once when it may hold the charge, again when a charge that is missing there
    proves something, and from then on every ten minutes.
    """
    begun = row.created_at if row.begun_at is None else row.begun_at
    over = row.updated_at if row.unknown_since is None else row.unknown_since
    if row.settled_at is None:
        return now - begun >= settle_after
    return row.settled_at < over + settle_after <= now or now - row.settled_at >= SETTLE_AGAIN


def look_is_due(row: Row, now: float, settle_after: float) -> bool:
    """The same for a row whose key nobody asks for: in the first hour."""
    over = row.updated_at if row.unknown_since is None else row.unknown_since
    return now - over < LOOK_FOR and settling_is_due(row, now, settle_after)
