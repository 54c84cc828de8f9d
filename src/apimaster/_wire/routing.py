"""What a reply says of the way that a request took behind the gateway. Nobody decides by it; the debug log holds it."""

from __future__ import annotations

from typing import Final

from .._flows.operations import Reply
from .json_reply import parsed
from .messages import number_of

_RETRY: Final = "x-apimaster-routing-retry"
_FALLBACK: Final = b"official_fallback"


def describe_routing(reply: Reply) -> str:
    """Which detours the gateway took, in a few words; empty if it took none.

    The header's own words are not repeated, unless they are a number.
    """
    found = []
    if _RETRY in reply.headers:
        times = number_of(reply.headers[_RETRY])
        found.append("another channel was tried" if times is None else f"routing retry {times:g}")
    if _FALLBACK in reply.body and _falls_back(reply.body):
        found.append("official fallback")
    return ", ".join(found)


def _falls_back(body: bytes) -> bool:
    try:
        document = parsed(body)
    except ValueError:
        return False
    inner = document.get("data") if isinstance(document, dict) else None
    items = [document, *(inner if isinstance(inner, list) else [inner])]
    return any(isinstance(item, dict) and item.get("official_fallback") is True for item in items)
