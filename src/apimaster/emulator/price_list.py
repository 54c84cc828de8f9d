"""The public price list, as the gateway serves it beside ``/v1`` without a key.

The emulator lists the prices by which it charges. A model without one is listed as billed by tokens, which is how the
gateway lists what nobody has set a price for.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from ..catalog import DEFAULT_RESOLUTION, RESOLUTIONS
from .prices import Prices
from .response_bodies import dump

_GROUP: Final = "default"
_UNSET_RATIO: Final = 37.5


def pricing_body(prices: Prices) -> bytes:
    """The prices of all models, and the ratios of the groups."""
    return dump(
        {
            "success": True,
            "data": [_row(model, table) for model, table in prices.items()],
            "vendors": [],
            "group_ratio": {_GROUP: 1},
            "usable_group": {_GROUP: "default group"},
            "supported_endpoint": {"image-generation": {"path": "/v1/images/generations", "method": "POST"}},
            "auto_groups": [],
        }
    )


def marketplace_body(prices: Prices, wanted: str | None) -> bytes:
    """What the gateway publishes about one model, or without ``wanted`` about each."""
    rows = [
        {"model": model, "price": _listed(table), "uptime": 99.9, "latency": 21.0}
        for model, table in prices.items()
        if wanted is None or model == wanted
    ]
    return dump({"success": True, "message": "", "data": rows})


def _row(model: str, table: Mapping[str, Decimal]) -> dict[str, Any]:
    prices = _listed(table)
    return {
        "model_name": model,
        "quota_type": 1 if prices else 0,
        "model_ratio": 0 if prices else _UNSET_RATIO,
        "model_price": prices.get(DEFAULT_RESOLUTION.lower(), 0),
        "owner_by": "",
        "completion_ratio": 0 if prices else 1,
        "enable_groups": [_GROUP],
        "supported_endpoint_types": ["image-generation"],
        **({"resolution_prices": prices} if prices else {}),
    }


def _listed(table: Mapping[str, Decimal]) -> dict[str, float]:
    return {name.lower(): float(table[name]) for name in RESOLUTIONS if name in table}
