"""The account's own books in the gateway's field names: replies → what a key may spend, and its charges.

Both routes lie beside ``/v1``. Amounts are in quota. A row of the log has its facts in two places: on the row itself,
and in its member ``other``, a text that holds JSON:

======================  ==========================================================================
``other.task_id``       the task, of an asynchronous job
``other.request_data``  ``model``, ``prompt``, ``size``, ``resolution``, ``image_urls`` of the request
``other.result_url``    the picture, once it is done
======================  ==========================================================================

A field that is missing or of another type is None on the row, since one odd row must not hide all others. What is no
row at all still counts as one: whoever compares the log needs to know how many rows it has, and that one says nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from .._flows.operations import Call, Reply
from ..account import Account, Charge, ChargeKind
from ..catalog import RESOLUTIONS
from .json_reply import parsed
from .messages import Unreadable, excerpt, number_of, object_in

USAGE_PATH: Final = "/api/usage/token"
LOG_PATH: Final = "/api/log/token"

QUOTA_PER_DOLLAR: Final = 500_000
LOG_ROWS: Final = 1000
"""The log holds so many rows, and no older ones."""

_KINDS: Final[dict[float, ChargeKind]] = {2: "charge", 6: "refund", 5: "error"}
_RESOLUTION_BY_NAME: Final = {name.lower(): name for name in RESOLUTIONS}
_FIGURES: Final = ("total_granted", "total_used", "total_available", "unlimited_quota")


def usage_call() -> Call:
    """The call for what the key may spend."""
    return Call("GET", USAGE_PATH, beside_v1=True)


def log_call() -> Call:
    """The call for the newest rows of the key's usage log."""
    return Call("GET", LOG_PATH, beside_v1=True)


def read_usage(reply: Reply) -> Account:
    """What the key may spend, and has spent.

    Raises:
        Unreadable: the reply is not a success, or holds none of the figures.
    """
    data = _success(reply).get("data")
    if not isinstance(data, dict) or not any(name in data for name in _FIGURES):
        raise Unreadable(f"no figures of a key in {excerpt(reply)}")
    unlimited = data.get("unlimited_quota") is True
    expires = number_of(data.get("expires_at"))
    return Account(
        name=_text(data.get("name")),
        # Without a limit the gateway counts on from nothing: these two would be figures of no account.
        granted=None if unlimited else _dollars(data.get("total_granted")),
        used=_dollars(data.get("total_used")),
        available=None if unlimited else _dollars(data.get("total_available")),
        unlimited=unlimited,
        expires_at=int(expires) if expires is not None and expires > 0 else None,
    )


def read_log(reply: Reply) -> tuple[Charge, ...]:
    """The rows of the log, in the gateway's order: newest first.

    Raises:
        Unreadable: the reply is not a success, or not a list.
    """
    document = _success(reply)
    data = document.get("data")
    if data is None and document.get("success") is True:
        return ()  # how the gateway's language writes a list that was never filled
    if not isinstance(data, list):
        raise Unreadable(f"no list of charges in {excerpt(reply)}")
    return tuple(_charge(row if isinstance(row, dict) else {}) for row in data)


def _success(reply: Reply) -> Mapping[str, Any]:
    document = object_in(reply)
    if document.get("success") is False or document.get("code") is False:
        raise Unreadable(f"no success in {excerpt(reply)}")
    return document


def _charge(row: Mapping[str, Any]) -> Charge:
    other = _other(row.get("other"))
    request = other.get("request_data")
    if not isinstance(request, dict):
        request = {}
    at, seconds = number_of(row.get("created_at")), number_of(row.get("use_time"))
    return Charge(
        at=0 if at is None else int(at),
        kind=_KINDS.get(number_of(row.get("type")) or 0, "other"),
        model=_text(row.get("model_name")) or _text(request.get("model")),
        cost=max(_dollars(row.get("quota")) or Decimal(0), Decimal(0)),
        seconds=seconds if seconds is not None and seconds >= 0 else None,
        request_id=_text(row.get("request_id")),
        task_id=_text(other.get("task_id")),
        prompt=_text(request.get("prompt")),
        aspect_ratio=_text(request.get("size")),
        resolution=_resolution(request.get("resolution")),
        effective_resolution=_resolution(request.get("effective_resolution")),
        image_urls=_texts(request.get("image_urls")),
        result_url=next(iter(_texts(other.get("result_url"))), None),
        refunded=other.get("billing_refunded") is True,
        content=_text(row.get("content")),
    )


def _other(value: object) -> Mapping[str, Any]:
    if isinstance(value, str):
        try:
            value = parsed(value)
        except ValueError:
            return {}
    return value if isinstance(value, dict) else {}


def _dollars(value: object) -> Decimal | None:
    quota = number_of(value)
    return None if quota is None else Decimal(str(quota)) / QUOTA_PER_DOLLAR


def _text(value: object) -> str | None:
    """A text as it is, since a caller may compare a prompt with it; None if it is empty, or no text."""
    return value if isinstance(value, str) and value else None


def _texts(value: object) -> tuple[str, ...]:
    listed = value if isinstance(value, list) else [value]
    return tuple(each for each in listed if isinstance(each, str) and each)


def _resolution(value: object) -> str | None:
    text = _text(value)
    return None if text is None else _RESOLUTION_BY_NAME.get(text.strip().lower(), text)
