"""Register the provider with LiteLLM in this process."""

from __future__ import annotations

from typing import Final

import litellm
from litellm.utils import custom_llm_setup

from .log_redaction import register_log_redaction
from .params import PROVIDER
from .prices import register_prices
from .provider import APIMasterLLM
from .response_cache import tell_parameters_apart
from .response_headers import register_headers

apimaster_llm: Final = APIMasterLLM()
"""The ready instance: ``custom_handler: litellm_apimaster.apimaster_llm`` in a proxy's config."""


def register(*, retry_unknown_outcomes: bool | None = None) -> APIMasterLLM:
    """Make ``apimaster/…`` known to LiteLLM's functions and to Routers made from now on. Calling it again is safe.

    Args:
        retry_unknown_outcomes: see ``APIMasterLLM``; None leaves the setting unchanged.

    Returns:
        The provider that answers for ``apimaster/…``. If ``litellm.custom_provider_map`` already has one, it stays.
    """
    found = next((item["custom_handler"] for item in litellm.custom_provider_map if item["provider"] == PROVIDER), None)
    if found is None:
        found = apimaster_llm
        litellm.custom_provider_map.append({"provider": PROVIDER, "custom_handler": found})
    custom_llm_setup()  # type: ignore[no-untyped-call]
    register_prices()
    register_headers()
    register_log_redaction()
    tell_parameters_apart()
    if retry_unknown_outcomes is not None and isinstance(found, APIMasterLLM):
        found.retry_unknown_outcomes = retry_unknown_outcomes
    return found  # type: ignore[return-value]  # another package's handler may have any type
