"""The ``Retry-After`` header, in both of its forms. Pure: the caller passes in the time."""

from __future__ import annotations

from .http_date import parse_http_date


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
        when = parse_http_date(text)
        return None if when is None else max(0.0, when - wall)
    return max(0.0, seconds) if seconds < float("inf") else None
