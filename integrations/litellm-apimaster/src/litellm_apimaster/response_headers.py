"""The headers that name a purchase, on every image route of LiteLLM's proxy.

The proxy's route for generations does not pass a provider's headers on to the client, as its other routes do. It asks
LiteLLM's callbacks for further headers, on all routes; so a callback hands them over.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import litellm
from litellm.integrations.custom_logger import CustomLogger

from .prices import HEADER_PREFIX, HEADERS


class PurchaseHeaders(CustomLogger):
    """Gives the proxy the headers of this provider's responses. It logs nothing."""

    async def async_post_call_response_headers_hook(  # type: ignore[override]  # LiteLLM passes all of it by name
        self, *, response: Any, **_: Any
    ) -> dict[str, str] | None:
        """The purchase, whether it was replayed, its tasks; None for a response of another provider."""
        hidden = getattr(response, "_hidden_params", None)
        headers = hidden.get(HEADERS) if isinstance(hidden, Mapping) else None
        if not isinstance(headers, Mapping):
            return None
        return {name: str(text) for name, text in headers.items() if name.startswith(HEADER_PREFIX)} or None


_callback: Final = PurchaseHeaders()


# Versions without the hook have no use for the callback. Worse, they prepare their loggers for the callbacks of a
# process's first call only: if this one alone is there by then, a Router made later never learns that a call failed.
_is_of_use: Final = hasattr(CustomLogger, PurchaseHeaders.async_post_call_response_headers_hook.__name__)


def register_headers() -> None:
    """Make sure that LiteLLM asks for the headers. Cheap, as each call does it: configurations replace the list."""
    if _is_of_use and _callback not in litellm.callbacks:
        litellm.callbacks.append(_callback)
