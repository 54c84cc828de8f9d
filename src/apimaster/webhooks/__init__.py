"""Webhooks: the gateway reports the end of a task to a server of yours (docs/endpoint.md, "Webhooks").

``parse_webhook`` verifies and parses a delivery.
"""

from .delivery import (
    DEFAULT_TOLERANCE,
    TASK_COMPLETED,
    TASK_FAILED,
    VERIFICATION,
    WebhookEvent,
    challenge_response,
    parse_webhook,
)
from .secrets import read_secrets
from .signature import WebhookSecrets, WebhookVerificationError, sign

__all__ = [
    "DEFAULT_TOLERANCE",
    "TASK_COMPLETED",
    "TASK_FAILED",
    "VERIFICATION",
    "WebhookEvent",
    "WebhookSecrets",
    "WebhookVerificationError",
    "challenge_response",
    "parse_webhook",
    "read_secrets",
    "sign",
]
