"""Webhooks: the gateway reports the end of a task to a server of yours (docs/webhooks.md).

``parse_webhook`` verifies and parses a delivery; ``client.webhooks``, a ``Webhooks`` or ``AsyncWebhooks``, manages
endpoints and reads events. ``WebhookWaiter`` lets clients wait by webhook.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .delivery import (
    DEFAULT_TOLERANCE,
    TASK_COMPLETED,
    TASK_FAILED,
    VERIFICATION,
    WebhookEvent,
    challenge_response,
    parse_webhook,
)
from .endpoints import (
    CreatedWebhookEndpoint,
    RotatedWebhookSecret,
    WebhookCapabilities,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookEventDetails,
    WebhookEventSummary,
    WebhookOutcomeUnknownError,
    WebhookSecretNotSavedError,
)
from .secrets import read_secrets
from .signature import WebhookSecrets, WebhookVerificationError, sign
from .waiter import WebhookReply, WebhookWaiter

if TYPE_CHECKING:
    from .async_management import AsyncWebhooks
    from .management import Webhooks

__all__ = [
    "DEFAULT_TOLERANCE",
    "TASK_COMPLETED",
    "TASK_FAILED",
    "VERIFICATION",
    "AsyncWebhooks",
    "CreatedWebhookEndpoint",
    "RotatedWebhookSecret",
    "WebhookCapabilities",
    "WebhookDelivery",
    "WebhookEndpoint",
    "WebhookEvent",
    "WebhookEventDetails",
    "WebhookEventSummary",
    "WebhookOutcomeUnknownError",
    "WebhookReply",
    "WebhookSecretNotSavedError",
    "WebhookSecrets",
    "WebhookVerificationError",
    "WebhookWaiter",
    "Webhooks",
    "challenge_response",
    "parse_webhook",
    "read_secrets",
    "sign",
]


def __getattr__(name: str) -> Any:
    # These two start flows, and the flows import the results from here.
    if name == "Webhooks":
        from .management import Webhooks

        return Webhooks
    if name == "AsyncWebhooks":
        from .async_management import AsyncWebhooks

        return AsyncWebhooks
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
