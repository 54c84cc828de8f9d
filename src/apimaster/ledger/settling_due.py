"""When to look into the usage log for an unknown purchase. Pure."""

from __future__ import annotations

from typing import Final

from ..catalog import one_shot_limit
from .matching import begun_of, request_of, unknown_since
from .rows import Row

SETTLE_AGAIN: Final = 600.0
"""Seconds between two looks into the usage log for one purchase: it may be read 15 times in 20 minutes."""
LOOK_FOR: Final = 3600.0
"""Seconds after which nobody looks for a purchase any more, unless somebody asks for it."""


def settling_is_due(row: Row, now: float, settle_after: float) -> bool:
    """Whether to look into the usage log: once when it may hold the charge, again when a charge that is missing there
    proves something, and from then on every ten minutes.
    """
    if row.settled_at is None:
        return now - begun_of(row) >= settle_after
    over = unknown_since(row)
    if row.one_shot:
        request = request_of(row)
        over += one_shot_limit(None if request is None else request.resolution)
    return row.settled_at < over + settle_after <= now or now - row.settled_at >= SETTLE_AGAIN


def look_is_due(row: Row, now: float, settle_after: float) -> bool:
    """The same for a row whose key nobody asks for: in the first hour."""
    return now - unknown_since(row) < LOOK_FOR and settling_is_due(row, now, settle_after)
