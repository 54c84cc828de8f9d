"""Health checks that buy nothing.

LiteLLM's proxy checks a deployment by making the call that it is for: an image, every few minutes, at its full price.
It marks those calls with a tag of its own. A call that carries the mark asks the gateway for its catalogue instead:
that is free, and shows that the base URL answers and that the key is accepted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from litellm import constants

_TAG: Final = getattr(constants, "LITTELM_INTERNAL_HEALTH_SERVICE_ACCOUNT_NAME", "litellm-internal-health-check")
# Set by LiteLLM itself; a client's own tags are in ``metadata``.
_BUCKET: Final = "litellm_metadata"


def is_check(arguments: Mapping[str, Any]) -> bool:
    """Whether this call is LiteLLM's own health check."""
    bucket = arguments.get(_BUCKET)
    return isinstance(bucket, Mapping) and _TAG in (bucket.get("tags") or ())
