"""The ``Retry-After`` header, in both of its forms. Pure: the caller passes in the time."""

from __future__ import annotations

from datetime import timezone
from email.utils import parsedate_to_datetime


def parse_retry_after(value: str | None, wall: float) -> float | None:
    """Seconds from ``wall`` (unix time) that a ``Retry-After`` header asks for; None if it says nothing usable.

    The header holds seconds or an HTTP date. A date in the past means 0.
    """
    if value is None:
        return None
    text = value.strip()
    try:
        seconds = float(text)
    except ValueError:
        try:
            when = parsedate_to_datetime(text)
        except (TypeError, ValueError, OverflowError):
            return None
        # RFC 9110: HTTP dates are in GMT, even if they name another zone
        aware = when if when.tzinfo is not None else when.replace(tzinfo=timezone.utc)
        return max(0.0, aware.timestamp() - wall)
    return max(0.0, seconds) if seconds < float("inf") else None
