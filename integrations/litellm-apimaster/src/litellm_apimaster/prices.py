"""The cost that LiteLLM passes on, by list prices, and the prices that it looks up beforehand.

The cost of a response travels in its hidden ``additional_headers``, under the one name that LiteLLM's own cost
calculator lets a provider set. It reaches ``_hidden_params``, callbacks, spend logs and the proxy's
``x-litellm-response-cost``. Without it LiteLLM estimates a figure.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

import litellm

from apimaster.catalog import KNOWN_MODELS, spec_for

from .params import PROVIDER

COST_HEADER: Final = "llm_provider-x-litellm-response-cost"
HEADERS: Final = "additional_headers"
HEADER_PREFIX: Final = "llm_provider-x-apimaster-"
_MODE: Final = "image_generation"

# LiteLLM reserves budgets by the first name and calculates costs by the second.
_PRICE_NAMES: Final = ("input_cost_per_image", "output_cost_per_image")


def set_response_cost(response: Any, cost: Decimal | None, **headers: str) -> None:
    """Write the cost in US dollars, and further headers, where LiteLLM and its proxy look for them.

    If the model's price is not known, write no figure: none is better than an estimate.
    """
    hidden = response._hidden_params
    found = hidden.get(HEADERS) or {}
    if cost is not None:
        found[COST_HEADER] = float(cost)
    hidden[HEADERS] = found | {f"{HEADER_PREFIX}{name}": text for name, text in headers.items()}


def register_prices() -> None:
    """Give LiteLLM the mode and the base price of every model that has a published one. Calling it again is safe."""
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
