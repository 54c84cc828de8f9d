"""``AsyncAPIMaster.webhooks``: the same as ``management``, with ``await``. A test compares both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._flows import webhooks as flows
from ..results import Task
from .arguments import MOST_EVENTS
from .endpoints import (
    CreatedWebhookEndpoint,
    RotatedWebhookSecret,
    WebhookCapabilities,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookEventDetails,
    WebhookEventSummary,
)
from .management import BaseWebhooks, Place

if TYPE_CHECKING:
    from .._drivers.aio import AsyncDriver
    from .._flows.context import Context


class AsyncWebhooks(BaseWebhooks):
    """The webhook endpoints and events of the account: ``client.webhooks``. All of its calls are free.

    It shares the connections and options of its client, and is closed with it. See docs/webhooks.md.
    """

    def __init__(self, driver: AsyncDriver, context: Context, timeout: float, model: str) -> None:
        super().__init__(context, timeout, model)
        self._driver = driver

    async def create(self, url: str, *, save_secret: Place | None = None) -> CreatedWebhookEndpoint:
        """Register a URL, and get the secret that signs its deliveries. The gateway shows it this once.

        The gateway sends a challenge to the URL at once, so the receiver may have to be there already; ``verify`` sends
        another. The call is not repeated by itself, since it could make a second endpoint.

        Args:
            url: a public https URL on port 443. If the client's base URL is on this machine, it may be an http or https
                URL on this machine too.
            save_secret: a file to write the secret into, for its owner alone; it must be new or empty, or else nothing
                is sent. ``read_secrets`` reads it. None: the secret is in the result only.

        Raises:
            BadRequestError: the URL or the file is not accepted, here or by the gateway.
            RateLimitError: the account has 20 endpoints already; or, with ``retry_after``, too many calls were made.
            WebhookOutcomeUnknownError: the answer was lost, so the endpoint may exist; its secret is lost too.
            WebhookSecretNotSavedError: the endpoint exists, and its secret could not be saved: the error has it.
            NotFoundError: this gateway manages no webhooks.
            APIMasterError: the gateway could not be asked, or refused.
        """
        checked, file = self._url(url), self._file(save_secret)
        return await self._driver.run(flows.create(self._context, checked, file, self._seconds))

    async def list(self) -> tuple[WebhookEndpoint, ...]:
        """All endpoints that this key may manage, without their secrets.

        Raises:
            NotFoundError: this gateway manages no webhooks.
            APIMasterError: the gateway could not be asked, or refused.
        """
        return await self._driver.run(flows.endpoints(self._context, self._seconds))

    async def verify(self, endpoint: str | WebhookEndpoint) -> WebhookEndpoint:
        """Have the gateway send the challenge to an endpoint now, and return the endpoint if the receiver answered it.

        Args:
            endpoint: the endpoint, or its id.

        Raises:
            BadRequestError: the receiver did not answer as it should: the message says why.
            NotFoundError: there is no such endpoint.
            APIMasterError: the gateway could not be asked, or refused.
        """
        return await self._driver.run(flows.verify(self._context, self._endpoint(endpoint), self._seconds))

    async def enable(self, endpoint: str | WebhookEndpoint) -> WebhookEndpoint:
        """Turn an endpoint on again. Deliveries that have waited go out.

        Args:
            endpoint: the endpoint, or its id.

        Raises:
            NotFoundError: there is no such endpoint.
            APIMasterError: the gateway could not be asked, or refused.
        """
        checked = self._endpoint(endpoint)
        return await self._driver.run(flows.enable(self._context, checked, self._seconds, enabled=True))

    async def disable(self, endpoint: str | WebhookEndpoint) -> WebhookEndpoint:
        """Turn an endpoint off. Its deliveries wait until it is on again.

        Args:
            endpoint: the endpoint, or its id.

        Raises:
            NotFoundError: there is no such endpoint.
            APIMasterError: the gateway could not be asked, or refused.
        """
        checked = self._endpoint(endpoint)
        return await self._driver.run(flows.enable(self._context, checked, self._seconds, enabled=False))

    async def rotate(
        self, endpoint: str | WebhookEndpoint, *, save_secret: Place | None = None
    ) -> RotatedWebhookSecret:
        """Give an endpoint a new secret. The gateway shows it this once; the old one stays valid for 24 hours.

        Meanwhile a receiver needs both: ``parse_webhook`` takes several. The call is not repeated by itself, since each
        makes another secret.

        Args:
            endpoint: the endpoint, or its id.
            save_secret: the file that ``create`` wrote for this endpoint, or a new one: the new secret is added, and
                the old one gets its end. None: the secret is in the result only.

        Raises:
            BadRequestError: the file holds secrets of another endpoint, or can't be written. Nothing was sent.
            WebhookOutcomeUnknownError: the answer was lost, so the secret may be another one, which nobody has.
            WebhookSecretNotSavedError: there is a new secret, and it could not be saved: the error has it.
            NotFoundError: there is no such endpoint.
            APIMasterError: the gateway could not be asked, or refused.
        """
        checked, file = self._endpoint(endpoint), self._file(save_secret)
        return await self._driver.run(flows.rotate(self._context, checked, file, self._seconds))

    async def events(
        self,
        *,
        task: str | Task | None = None,
        status: str | None = None,
        limit: int = MOST_EVENTS,
        offset: int = 0,
    ) -> tuple[WebhookEventSummary, ...]:
        """A part of the account's events, in the gateway's order.

        Args:
            task: only events of this task, or of the task with this id; None: of all.
            status: only events in this state, in the gateway's word for it; None: in any.
            limit: how many, 1 to 100.
            offset: how many to leave out before the first.

        Raises:
            BadRequestError: an argument is not accepted, here or by the gateway.
            NotFoundError: this gateway manages no webhooks.
            APIMasterError: the gateway could not be asked, or refused.
        """
        asked = self._events(task, status, limit, offset)
        return await self._driver.run(flows.events(self._context, self._seconds, **asked))

    async def event(self, event: str | WebhookEventSummary) -> WebhookEventDetails:
        """One event, with what is delivered and every attempt.

        Args:
            event: the event, or its id.

        Raises:
            NotFoundError: there is no such event.
            APIMasterError: the gateway could not be asked, or refused.
        """
        return await self._driver.run(flows.event(self._context, self._event(event), self._seconds))

    async def deliveries(self, event: str | WebhookEventSummary) -> tuple[WebhookDelivery, ...]:
        """Every attempt to deliver an event, in the gateway's order.

        Args:
            event: the event, or its id.

        Raises:
            NotFoundError: there is no such event.
            APIMasterError: the gateway could not be asked, or refused.
        """
        found = await self._driver.run(flows.event(self._context, self._event(event), self._seconds))
        return found.deliveries

    async def redeliver(self, event: str | WebhookEventSummary) -> None:
        """Ask the gateway to deliver an event once more: up to 5 times a day, for 30 days.

        The call is not repeated by itself, since each counts.

        Args:
            event: the event, or its id.

        Raises:
            BadRequestError: a delivery is under way, or the event is too old.
            RateLimitError: it was redelivered too often today; or, with ``retry_after``, too many calls were made.
            WebhookOutcomeUnknownError: the answer was lost, so it may have been asked for.
            NotFoundError: there is no such event.
            APIMasterError: the gateway could not be asked, or refused.
        """
        await self._driver.run(flows.redeliver(self._context, self._event(event), self._seconds))

    async def capabilities(self, model: str | None = None) -> WebhookCapabilities:
        """Whether tasks of a model can report their end, and with which events.

        Args:
            model: a model id or an alias; None: the client's model.

        Raises:
            BadRequestError: the model's id is not accepted.
            NotFoundError: this gateway manages no webhooks.
            APIMasterError: the gateway could not be asked, or refused.
        """
        return await self._driver.run(flows.capabilities(self._context, self._for(model), self._seconds))
