"""The public price list, as the gateway serves it beside ``/v1`` without a key.

The emulator lists the prices by which it charges. A model without a published price is listed as one that is billed by
tokens, which is how the gateway lists what nobody has set a price for.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

from ..catalog import DEFAULT_RESOLUTION, RESOLUTIONS, spec_for
from .response_bodies import dump

_GROUP: Final = "default"
_UNSET_RATIO: Final = 37.5


def pricing_body(models: Sequence[str]) -> bytes:
    """The prices of all models, and the ratios of the groups."""
    return dump(
        {
            "success": True,
            "data": [_row(model) for model in models],
            "vendors": [],
            "group_ratio": {_GROUP: 1},
            "usable_group": {_GROUP: "default group"},
            "supported_endpoint": {"image-generation": {"path": "/v1/images/generations", "method": "POST"}},
            "auto_groups": [],
        }
    )


def marketplace_body(models: Sequence[str], wanted: str | None) -> bytes:
    """What the gateway publishes about one model, or without ``wanted`` about each."""
    rows = [
        {"model": model, "price": _prices(model), "uptime": 99.9, "latency": 21.0}
        for model in models
        if wanted is None or model == wanted
    ]
    return dump({"success": True, "message": "", "data": rows})


def _row(model: str) -> dict[str, Any]:
    prices = _prices(model)
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


def _prices(model: str) -> dict[str, float]:
    spec = spec_for(model)
    found: dict[str, Decimal | None] = {name.lower(): spec.price(name) for name in RESOLUTIONS}
    return {name: float(price) for name, price in found.items() if price is not None}
