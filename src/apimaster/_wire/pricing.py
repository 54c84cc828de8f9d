"""The gateway's public price list in its field names: replies → what each model costs.

Both routes lie beside ``/v1`` and need no key. How a list tells a price that depends on the resolution is not
documented, so the reading goes by what a member holds, not only by its name:

============================  ====================================================================
part of a row                 where it may be
============================  ====================================================================
the row itself                an item of ``data``, or of a list in there; or the value under its id
the model id                  ``model_name``, ``model``, ``id`` or ``name``
dollars for each resolution   any member that is an object with resolutions as keys, or a list of
                              objects with a ``resolution`` and a price
dollars for each image        ``model_price``, ``price_per_image``, ``price_usd`` or ``price``
billed by tokens              ``quota_type`` 0: then ``model_price`` means nothing
by an expression              ``billing_mode``: the price is unknown, unless resolutions have some
============================  ====================================================================

A row without an id is left out; a row without a price stays, since it says that the model is there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from .._flows.operations import Call, Reply
from ..catalog import RESOLUTIONS
from ..pricing import Billing, ModelPrice
from .messages import Unreadable, excerpt, object_in

PRICING_PATH: Final = "/api/pricing"
MARKETPLACE_PATH: Final = "/api/public/marketplace"
MAX_BYTES: Final = 16 * 1024 * 1024
"""A list of a thousand models is half a megabyte."""

_IDS: Final = ("model_name", "model", "id", "name")
_PRICES: Final = ("model_price", "price_per_image", "price_usd", "price")
_LISTS: Final = ("data", "models", "items", "list", "rows")
_SIZES: Final = ("resolution", "size", "quality")
_RESOLUTION_BY_NAME: Final = {name.lower(): name for name in RESOLUTIONS}
_BY_TOKENS: Final = 0
_LARGEST: Final = Decimal(10**6)  # US dollars; above that it is no price of an image

Prices = tuple[tuple[ModelPrice, ...], dict[str, Decimal]]


def pricing_call() -> Call:
    """The call for the prices of all models."""
    return Call("GET", PRICING_PATH, beside_v1=True, public=True, max_bytes=MAX_BYTES)


def marketplace_call(model: str) -> Call:
    """The call for what the gateway publishes about one model."""
    return Call("GET", MARKETPLACE_PATH, {"model": model}, beside_v1=True, public=True, max_bytes=MAX_BYTES)


def read_prices(reply: Reply) -> Prices:
    """The models with their prices, and the ratio of each account group.

    Raises:
        Unreadable: the reply is not a success, or holds no list of models.
    """
    document = object_in(reply)
    if document.get("success") is False or document.get("code") is False or document.get("error"):
        raise Unreadable(f"no success in {excerpt(reply)}")
    rows = _rows(document)
    if rows is None:
        raise Unreadable(f"no prices in {excerpt(reply)}")
    ratios = document.get("group_ratio")
    groups = {name: _amount(ratio) for name, ratio in ratios.items()} if isinstance(ratios, dict) else {}
    models = tuple(found for row in rows if (found := _model(row)) is not None)
    return models, {name: ratio for name, ratio in groups.items() if ratio is not None}


def _rows(value: Any, depth: int = 0) -> list[Mapping[str, Any]] | None:
    """The rows in a document: a list of objects, an object by id, or one row; None if there is nothing like that."""
    if isinstance(value, list):
        return [row for row in value if isinstance(row, dict)]
    if not isinstance(value, dict) or depth > 2:
        return None
    if depth and _id_of(value) is not None:
        return [value]
    for name in _LISTS:
        if name in value and (found := _rows(value[name], depth + 1)) is not None:
            return found
    if not depth:
        return [value] if _id_of(value) is not None else None
    return [{"model_name": name, **row} for name, row in value.items() if isinstance(row, dict)] or None


def _model(row: Mapping[str, Any]) -> ModelPrice | None:
    name = _id_of(row)
    if name is None:
        return None
    prices = next(_tables(row), {})
    flat = None if prices else next((found for each in _PRICES if (found := _amount(row.get(each))) is not None), None)
    billing: Billing = "image"
    if not prices:
        if row.get("quota_type") == _BY_TOKENS and not isinstance(row.get("quota_type"), bool):
            billing, flat = "token", None
        elif flat is None or row.get("billing_mode"):
            billing, flat = "unknown", None
    groups = row.get("enable_groups")
    return ModelPrice(
        model=name,
        billing=billing,
        prices=prices,
        flat=flat,
        groups=tuple(each for each in groups if isinstance(each, str)) if isinstance(groups, list) else (),
    )


def _id_of(row: Mapping[str, Any]) -> str | None:
    return next((text for name in _IDS if isinstance(text := row.get(name), str) and text.strip()), None)


def _tables(value: Any, depth: int = 0) -> Iterator[dict[str, Decimal]]:
    """Every table of prices by resolution in a row, the outer ones first."""
    members: Sequence[Any] = ()
    if isinstance(value, dict):
        members = list(value.values())
        if table := _table(value.items()):
            yield table
    elif isinstance(value, list):
        members = value
        items = [item for item in value if isinstance(item, dict)]
        if table := _table((next((item[name] for name in _SIZES if name in item), None), item) for item in items):
            yield table
    if depth < 3:
        for member in members:
            yield from _tables(member, depth + 1)


def _table(pairs: Any) -> dict[str, Decimal]:
    found: dict[str, Decimal] = {}
    for name, value in pairs:
        resolution = _RESOLUTION_BY_NAME.get(name.strip().lower()) if isinstance(name, str) else None
        amounts = [value.get(each) for each in _PRICES] if isinstance(value, dict) else [value]
        amount = next((read for each in amounts if (read := _amount(each)) is not None), None)
        if resolution is not None and amount is not None:
            found[resolution] = amount
    return {name: found[name] for name in RESOLUTIONS if name in found}


def _amount(value: object) -> Decimal | None:
    """A number that is 0 or more, as it is written in the JSON; None if it is none."""
    if isinstance(value, str):
        value = value.strip().removeprefix("$").strip()
    elif isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        amount = Decimal(str(value))
    except (InvalidOperation, ValueError):
        return None
    return amount if amount.is_finite() and 0 <= amount <= _LARGEST else None
