"""What the calls about webhooks return: endpoints, their secrets, events, deliveries, capabilities.

Objects that hold a secret hide it: ``repr``, logs and JSON show stars, and only ``get_secret_value()`` shows it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from ..errors import APIMasterError
from .delivery import WebhookEvent


class _Frozen(BaseModel):
    # The validators are built at their first use.
    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)


class WebhookEndpoint(_Frozen):
    """A URL that gets events.

    Attributes:
        id: ``whep_…``, as ``generate(webhook=…)`` takes it.
        url: where deliveries go; None if the gateway does not say.
        verified: whether the receiver has answered a challenge; only then may a request name the endpoint. None if
            the gateway does not say.
        enabled: whether deliveries go out. The gateway turns an endpoint off that answers 410. None if it does not say.
        key_id: the id of the secret that signs deliveries, which is their ``kid``.
        created_at: unix seconds; None if the gateway does not say.
    """

    id: str
    url: str | None = None
    verified: bool | None = None
    enabled: bool | None = None
    key_id: str | None = None
    created_at: float | None = None


class CreatedWebhookEndpoint(_Frozen):
    """A new endpoint, and its secret, which the gateway shows this once.

    Attributes:
        endpoint: the endpoint.
        signing_secret: the secret that signs its deliveries, as ``parse_webhook`` takes it. It is hidden in ``repr``
            and in JSON; ``signing_secret.get_secret_value()`` shows it.
    """

    endpoint: WebhookEndpoint
    signing_secret: SecretStr

    @property
    def secrets(self) -> Mapping[str, SecretStr]:
        """The secret by its key id, as ``parse_webhook`` takes it."""
        return {self.endpoint.key_id or "": self.signing_secret}


class RotatedWebhookSecret(_Frozen):
    """The new secret of an endpoint, which the gateway shows this once. The old one stays valid for a while.

    Attributes:
        endpoint_id: of the endpoint.
        key_id: the id of the new secret; None if the gateway does not say.
        signing_secret: the new secret, hidden as in ``CreatedWebhookEndpoint``.
        previous_key_id: the id of the secret that it replaces; None if the gateway does not say.
        previous_valid_until: unix seconds until which deliveries may be signed with the old secret; 24 hours from now
            if the gateway does not say.
    """

    endpoint_id: str
    key_id: str | None = None
    signing_secret: SecretStr
    previous_key_id: str | None = None
    previous_valid_until: float

    @property
    def secrets(self) -> Mapping[str, SecretStr]:
        """The new secret by its key id. ``parse_webhook`` needs the old one beside it until its end."""
        return {self.key_id or "": self.signing_secret}


class WebhookEventSummary(_Frozen):
    """An event, and how far its delivery is.

    Attributes:
        id: ``evt_…``; the same for every delivery.
        type: ``"task.completed"``, ``"task.failed"``, or another; None if the gateway does not say.
        task_id: the task that has ended.
        endpoint_id: where it goes.
        status: the gateway's word for its state, in lower case, for example ``"pending"`` or ``"delivered"``.
        attempts: how many deliveries there were.
        created_at: unix seconds.
        next_attempt_at: unix seconds of the next delivery, if one is planned.
    """

    id: str
    type: str | None = None
    task_id: str | None = None
    endpoint_id: str | None = None
    status: str | None = None
    attempts: int | None = None
    created_at: float | None = None
    next_attempt_at: float | None = None


class WebhookDelivery(_Frozen):
    """One attempt to deliver an event.

    Attributes:
        id: as in the header ``X-APIMaster-Delivery-ID``.
        attempt: counted from 1.
        status: the gateway's word for its outcome, in lower case.
        status_code: the HTTP status of the receiver's answer; None if there was none.
        error: why it does not count as delivered.
        created_at: unix seconds.
        details: the row as the gateway wrote it; empty if that is very large.
    """

    id: str | None = None
    attempt: int | None = None
    status: str | None = None
    status_code: int | None = None
    error: str | None = None
    created_at: float | None = None
    details: dict[str, Any] = Field(default_factory=dict, repr=False)


class WebhookEventDetails(_Frozen):
    """An event with what is delivered, and every attempt.

    Attributes:
        event: the event.
        payload: what a delivery says, with its task; None if the gateway does not say.
        deliveries: the attempts, in the gateway's order.
    """

    event: WebhookEventSummary
    payload: WebhookEvent | None = None
    deliveries: tuple[WebhookDelivery, ...] = ()


class WebhookCapabilities(_Frozen):
    """Whether tasks of a model can report their end.

    Attributes:
        model: the model id.
        supported: False: a request that asks for a webhook is refused.
        events: the types of events.
        api_version: of the events, a date such as ``"2026-10-03"``.
    """

    model: str
    supported: bool
    events: tuple[str, ...] = ()
    api_version: str | None = None


class WebhookOutcomeUnknownError(APIMasterError):
    """A change was sent to the gateway, and its answer is missing: it may have been made. Nothing was charged.

    Attributes:
        endpoint_id: the endpoint that it is about, if it is known.
    """

    def __init__(self, message: str, *, endpoint_id: str | None = None, **details: Any) -> None:
        super().__init__(message, **details)
        self.endpoint_id = endpoint_id


class WebhookSecretNotSavedError(APIMasterError):
    """The gateway has made a new secret, and it could not be saved. The error holds the only copy.

    Attributes:
        result: what ``create`` or ``rotate`` would have returned, with the secret.
    """

    advice = "Keep error.result.signing_secret.get_secret_value(), or rotate the endpoint's secret to get another."

    def __init__(
        self, message: str, *, result: CreatedWebhookEndpoint | RotatedWebhookSecret | None = None, **details: Any
    ) -> None:
        super().__init__(message, **details)
        self.result = result
