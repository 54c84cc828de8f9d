"""Cost: the figure that LiteLLM passes on, and the prices that it looks up beforehand.

The exact cost of an answer travels in its hidden ``additional_headers``, under the one name that LiteLLM's own cost
calculator lets a provider set. It reaches ``_hidden_params``, callbacks, spend logs and the proxy's
``x-litellm-response-cost``; without it LiteLLM makes a figure up.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

import litellm

from apimaster.catalog import KNOWN_MODELS, spec_for

from .params import PROVIDER

COST_HEADER: Final = "llm_provider-x-litellm-response-cost"
_HEADERS: Final = "additional_headers"
_OWN_HEADER: Final = "llm_provider-x-apimaster-"
_MODE: Final = "image_generation"

# One price per image, under both names: budget reservation reads the one, cost calculation the other.
_PRICE_NAMES: Final = ("input_cost_per_image", "output_cost_per_image")


def stamp(answer: Any, cost: Decimal | None, **headers: str) -> None:
    """Write the cost in US dollars, and further headers, where LiteLLM and its proxy look for them.

    Where nobody knows the model's price, no figure is written: none is better than a made-up one.
    """
    hidden = answer._hidden_params
    found = hidden.get(_HEADERS) or {}
    if cost is not None:
        found[COST_HEADER] = float(cost)
    hidden[_HEADERS] = found | {f"{_OWN_HEADER}{name}": text for name, text in headers.items()}


def register_prices() -> None:
    """Tell LiteLLM the mode and the base price of every model that has a published one. Can be repeated."""
    entries = {}
    for name in KNOWN_MODELS:
        spec = spec_for(name)
        for alias in (name, *spec.aliases):
            entry: dict[str, Any] = {"litellm_provider": PROVIDER, "mode": _MODE}
            base = spec.price(None)
            if base is not None:
                entry |= dict.fromkeys(_PRICE_NAMES, float(base))
            entries[f"{PROVIDER}/{alias}"] = entry
    if any(litellm.model_cost.get(name, {}).get("mode") != _MODE for name in entries):
        litellm.register_model(entries)
