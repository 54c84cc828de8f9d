"""The handle on one emulator: start it, script it, and read what clients asked for and what it charged."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .app import App
from .bill import Bill
from .channels import Channel
from .dialects import Dialect
from .fault_rates import parse_fault_rates
from .fault_script import make_rules
from .gateway import Gateway
from .image_jobs import ImageJob
from .latency import Latency, parse_latency
from .like import with_likeness
from .options import DEFAULT_KEY, make_options
from .records import RecordedRequest
from .server import Server, listen
from .webhook_endpoints import WebhookEndpoint
from .webhook_events import WebhookDelivery, WebhookEvent

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .options import Settings


class Emulator:
    """The APIMaster gateway on this machine: real HTTP, real pictures, no money.

    Use it as a context manager, or call ``start`` and ``stop``. Any thread may read every attribute and call every
    method while the server runs.

    Args:
        host: a loopback address; others are refused.
        port: 0 takes any free port.
        latency: how long an image job takes: seconds, ``"2-6"``, ``"2~0.3"`` (log-normal), ``"3 polls"`` or
            ``"manual"``.
        sigma: log-normal scatter of ``latency``.
        dialect: words of `dialects.WORDS` joined by ``+``.
        faults: probabilities, as ``"rate_limited=0.1,task_failed=0.05"`` or a mapping; `faults.FAULTS` has the names.
        seed: makes faults, latencies and mixed dialects repeatable.
        like: a transcript of ``apimaster probe``: the emulator acts as the gateway that it was recorded from, where
            the other arguments don't say otherwise.
        api_keys: one key, several, or None to accept every key.
        balance: US dollars; the emulator refuses a charge beyond it, as the gateway does. None: unlimited.
        pictures: ``full``, ``plain`` (the right size in one colour, quick to make) or ``small`` (at most 64 pixels).
        picture_format: ``png``, ``jpeg`` or ``webp``.
        url_lifetime: seconds until a result URL expires.
        cdn: result URLs point to the second origin, which refuses requests with a key.
        models: the ids that the emulator serves; by default all ids of the catalogue. A request for another id is
            answered with 503 ``model_not_found``.
        prices: US dollars for one image by model id and resolution, such as ``{"gpt-image-2": {"1K": "0.04"}}``: what
            is charged and what the public price list says. By default those of the catalogue, and for a successor
            without a price those of the model that it follows; other models cost nothing.
        history: how many requests, image jobs and pictures the emulator keeps.
        account_routes: whether the gateway keeps books that a key can read; False: 404, like an older gateway.
        price_routes: whether the gateway publishes its prices; False: 404.
        log_limit: how often one address may read the usage log in 20 minutes; None: no limit.
        log_delay: seconds until a row appears in the usage log.
        webhook_routes: whether keys can manage webhooks; False: 404, any endpoint id is accepted, and nothing is sent.
        webhook_models: the ids whose tasks have webhooks; None: all models.
        webhook_pause: seconds between the first two attempts to deliver an event; each further pause is twice as long,
            up to an hour.
        webhook_timeout: seconds that a receiver has for its answer.
        endpoint_limit: how many webhook endpoints the account may have.
        channel: words of `channels.WORDS` joined by ``+``: what the upstream channel refuses or changes.
        request_limit: bytes of a whole request; a larger one is refused with 413.
        upload_limit: bytes of an uploaded picture.
        upload_lifetime: seconds until the URL of an uploaded picture expires.

    Raises:
        ValueError: a setting has a value that is not accepted; the message names both and what is accepted.
    """

    def __init__(self, **settings: Unpack[Settings]) -> None:
        self.gateway = Gateway(make_options(**with_likeness(settings)))
        self._server: Server | None = None

    # --- up and down --------------------------------------------------------------------------------------

    def start(self) -> Emulator:
        """Serve in a background thread; returns when connections are accepted.

        Raises:
            OSError: the port is taken.
            RuntimeError: the emulator is already running, or could not start.
        """
        if self._server is not None:
            raise RuntimeError("this emulator is already running")
        self._server = self._open()
        self._server.start()
        self.gateway.loop = self._server.loop
        self.gateway.webhooks.queue.wake()  # for what a stop broke off
        return self

    def stop(self) -> None:
        """Stop serving, at once; the bill and the recorded requests can still be read. Idempotent.

        Open connections are cut, also in the middle of a response, and a drawing that is under way is abandoned.
        """
        server, self._server = self._server, None
        if server is not None:
            self.gateway.loop = None
            server.stop()
            self.gateway.threads.close()

    def serve(self, on_ready: Callable[[Emulator], None] | None = None) -> None:
        """Serve in this thread until Ctrl-C; ``on_ready`` is called once connections are accepted."""

        def ready() -> None:
            self.gateway.loop = server.loop
            self.gateway.webhooks.queue.wake()
            if on_ready is not None:
                on_ready(self)

        server = self._open()
        try:
            server.run(ready)
        finally:
            self.gateway.loop = None
            self.gateway.threads.close()

    def __enter__(self) -> Emulator:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _open(self) -> Server:
        options = self.gateway.options
        front = listen(options.host, options.port)
        try:
            second = listen(options.host, 0)
        except OSError:
            front.close()
            raise
        self.gateway.port = front.getsockname()[1]
        self.gateway.cdn_port = second.getsockname()[1]
        return Server(App(self.gateway), [front, second], self.gateway.webhooks.queue.aclose)

    # --- addresses and keys -------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """``http://host:port``: the status page."""
        return self.gateway.origin_for(())

    @property
    def base_url(self) -> str:
        """The base URL for a client: ``http://host:port/v1``."""
        return f"{self.url}/v1"

    @property
    def cdn_url(self) -> str:
        """The second origin, which acts as a content delivery network."""
        return self.gateway.origin_for((), self.gateway.cdn_port)

    @property
    def api_key(self) -> str:
        """A key that the emulator accepts."""
        keys = self.gateway.options.api_keys
        return keys[0] if keys else DEFAULT_KEY

    @property
    def env(self) -> dict[str, str]:
        """Environment variables that point a client at this emulator."""
        return {"APIMASTER_BASE_URL": self.base_url, "APIMASTER_API_KEY": self.api_key}

    # --- what happened ------------------------------------------------------------------------------------

    @property
    def bill(self) -> Bill:
        """Charges and refunds so far."""
        self.gateway.jobs.book_due_refunds()
        return self.gateway.bill

    @property
    def requests(self) -> list[RecordedRequest]:
        """Every request on either origin, oldest first."""
        return self.gateway.request_log.all()

    @property
    def jobs(self) -> list[ImageJob]:
        """Every image job, oldest first, including those of one-shot calls."""
        return self.gateway.jobs.all()

    @property
    def webhook_endpoints(self) -> list[WebhookEndpoint]:
        """Every registered webhook endpoint, oldest first."""
        return self.gateway.webhooks.endpoints.all()

    @property
    def webhook_events(self) -> list[WebhookEvent]:
        """Every event of a task, oldest first, with its status and its deliveries."""
        return self.gateway.webhooks.events.all()

    @property
    def webhook_deliveries(self) -> list[WebhookDelivery]:
        """Every attempt to deliver something to a webhook endpoint, oldest first."""
        return self.gateway.webhooks.events.deliveries()

    @property
    def complaints(self) -> list[str]:
        """What the gateway tolerates, but a good client does not do, such as a poll without the model."""
        return list(self.gateway.complaints)

    def requests_to(self, route: str) -> list[RecordedRequest]:
        """The requests to one route: ``sync``, ``submit``, ``poll``, ``download``, ``output``, ``models``,
        ``upload``, ``usage``, ``log``, ``webhooks``, …"""
        return [record for record in self.requests if record.route == route]

    @property
    def cdn_requests(self) -> list[RecordedRequest]:
        """The requests to the second origin."""
        return [record for record in self.requests if record.origin == "cdn"]

    @property
    def cdn_saw_key(self) -> bool:
        """Whether the second origin was ever sent an ``Authorization`` header."""
        return any(record.had_authorization for record in self.cdn_requests)

    # --- what happens next --------------------------------------------------------------------------------

    def script(
        self,
        *faults: str | Mapping[str, Any],
        times: int | None = 1,
        on: str | None = None,
        prompt: str | None = None,
        task: str | None = None,
        **options: Any,
    ) -> None:
        """Make faults happen, in this order, to the next requests at their place.

        Args:
            faults: names of `faults.FAULTS`, or mappings with ``fault`` and any of the other arguments.
            times: how often each happens; None: always.
            on: a place other than the fault's own: ``generate``, ``task``, ``poll``, ``download``, ``output``,
                ``upload``, ``log``, ``usage``, ``webhooks`` or ``delivery``.
            prompt: only for prompts that contain this text.
            task: only for this task id.
            options: attributes of the fault to change: ``retry_after=3``, ``status=599``, ``accepted=False``.

        Raises:
            ValueError: a fault, a place or an option is unknown.
        """
        self.gateway.script.add(make_rules(faults, times=times, on=on, prompt=prompt, task=task, **options))

    def clear_script(self) -> None:
        """Forget all scripted faults."""
        self.gateway.script.clear()

    @property
    def pending_faults(self) -> int:
        """How many scripted faults are still to happen."""
        return self.gateway.script.pending

    def set_faults(self, faults: str | Mapping[str, float] | None) -> None:
        """Use these probabilities of faults from now on."""
        self.gateway.script.set_rates(parse_fault_rates(faults))

    @property
    def dialect(self) -> Dialect:
        """The dialect of new image jobs; accepts a text such as ``"legacy+url_string"``."""
        return self.gateway.dialect

    @dialect.setter
    def dialect(self, value: str | Dialect) -> None:
        self.gateway.dialect = Dialect.parse(value)

    @property
    def latency(self) -> Latency:
        """The latency of new image jobs; accepts the same values as the constructor."""
        return self.gateway.latency

    @latency.setter
    def latency(self, value: float | str | tuple[float, float] | Latency) -> None:
        self.gateway.latency = parse_latency(value)

    @property
    def channel(self) -> Channel:
        """The channel of new requests; accepts a text such as ``"no_data_uris+several"``."""
        return self.gateway.channel

    @channel.setter
    def channel(self, value: str | Channel) -> None:
        self.gateway.channel = Channel.parse(value)

    def advance(self, seconds: float) -> None:
        """Move the emulator's clock forward, so that jobs end and URLs expire without a test that sleeps."""
        self.gateway.advance(seconds)

    def finish(self, task_id: str | None = None) -> None:
        """End a job as succeeded now, or every job that runs."""
        self.gateway.finish(task_id)

    def fail(self, task_id: str | None = None, reason: str | Mapping[str, Any] | None = None) -> None:
        """End a job as failed now, or every job that runs, and refund it."""
        self.gateway.fail(task_id, reason)

    def settle_webhooks(self, timeout: float = 10.0) -> None:
        """Wait until every webhook delivery that is due has been attempted; repeats that are due later stay planned.

        Args:
            timeout: seconds.

        Raises:
            TimeoutError: a delivery is still under way; the receiver has not answered yet.
            RuntimeError: the emulator does not run.
        """
        loop = self.gateway.loop
        if loop is None:
            raise RuntimeError("this emulator is not running")
        settling = asyncio.run_coroutine_threadsafe(self.gateway.webhooks.queue.settle(), loop)
        try:
            settling.result(timeout)
        except concurrent.futures.TimeoutError:
            settling.cancel()
            raise TimeoutError(f"webhook deliveries are still under way after {timeout:g} s") from None

    def reset(self) -> None:
        """Return to the state at the start: no requests, jobs, charges, webhooks or scripted faults, the constructor's
        settings.

        Clients may go on using their connections, so tests can share one emulator.
        """
        self.gateway.reset()


def serve(on_ready: Callable[[Emulator], None] | None = None, **settings: Unpack[Settings]) -> None:
    """Run an emulator in this thread until Ctrl-C; takes the settings of `Emulator`."""
    Emulator(**settings).serve(on_ready)


__all__ = ["Emulator", "serve"]
