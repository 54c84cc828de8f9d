"""Dates in HTTP headers. Pure."""

from __future__ import annotations

from datetime import timezone
from email.utils import parsedate_to_datetime


def parse_http_date(value: str | None) -> float | None:
    """Unix seconds of an HTTP date; None if it is none."""
    if value is None:
        return None
    try:
        when = parsedate_to_datetime(value.strip())
        # RFC 9110: HTTP dates are in GMT, even if they name another zone
        return (when if when.tzinfo is not None else when.replace(tzinfo=timezone.utc)).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None
