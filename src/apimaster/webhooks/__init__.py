"""Webhooks: the gateway reports the end of a task to a server of yours (docs/endpoint.md, "Webhooks").

``parse_webhook`` verifies and parses a delivery.
"""

from .delivery import (
    DEFAULT_TOLERANCE,
    TASK_COMPLETED,
    TASK_FAILED,
    VERIFICATION,
    WebhookEvent,
    WebhookVerificationError,
    challenge_response,
    parse_webhook,
    sign,
)

__all__ = [
    "DEFAULT_TOLERANCE",
    "TASK_COMPLETED",
    "TASK_FAILED",
    "VERIFICATION",
    "WebhookEvent",
    "WebhookVerificationError",
    "challenge_response",
    "parse_webhook",
    "sign",
]
