"""The handle on one emulator: start it, script it, look at what was asked and paid."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .app import App
from .bill import Bill
from .dialects import Dialect
from .fault_rates import parse_faults
from .gateway import Gateway
from .jobs import Job
from .options import DEFAULT_KEY, Latency, make_options, parse_latency
from .records import RecordedRequest
from .scripting import make_rules
from .server import Server, listen

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .options import Settings


class Emulator:
    """The APIMaster gateway on this machine: real HTTP, real pictures, no money.

    Usable as a context manager, or with ``start`` and ``stop``. Every attribute may be read, and every method
    called, from any thread while the server runs.

    Args:
        host: a loopback address; others are refused.
        port: 0 takes any free one.
        latency: how long a job takes: seconds, ``"2-6"``, ``"2~0.3"`` (log-normal), ``"3 polls"``, ``"manual"``.
        sigma: log-normal scatter of ``latency``.
        dialect: words of `dialects.WORDS` joined by ``+``.
        faults: probabilities, ``"rate_limited=0.1,task_failed=0.05"`` or a mapping; names in `faults.FAULTS`.
        seed: makes faults, latencies and mixed dialects repeatable.
        api_keys: one key, several, or None to accept every key.
        balance: US dollars; a charge beyond it is refused as the gateway does. None: without end.
        pictures: ``full``, ``plain`` (right pixels, one colour, no work) or ``small`` (64 pixels at most).
        picture_format: ``png``, ``jpeg`` or ``webp``.
        url_lifetime: seconds after which a result URL ends.
        cdn: result URLs lie on the second origin, which refuses a key.
        models: the ids that are served.
        history: how many requests, jobs and pictures are kept.

    Raises:
        ValueError: a setting is not accepted; the message names it and what is.
    """

    def __init__(self, **settings: Unpack[Settings]) -> None:
        self.gateway = Gateway(make_options(**settings))
        self._server: Server | None = None

    # --- up and down --------------------------------------------------------------------------------------

    def start(self) -> Emulator:
        """Serve in a background thread; returns when connections are accepted.

        Raises:
            OSError: the port is taken.
            RuntimeError: it runs already, or did not come up.
        """
        if self._server is not None:
            raise RuntimeError("this emulator runs already")
        self._server = self._open()
        self._server.start()
        self.gateway.loop = self._server.loop
        return self

    def stop(self) -> None:
        """Stop serving and end the threads; what was recorded can still be read. Idempotent."""
        server, self._server = self._server, None
        if server is not None:
            self.gateway.loop = None
            server.stop()
            self.gateway.workers.close()

    def serve(self, on_ready: Callable[[Emulator], None] | None = None) -> None:
        """Serve in this thread until Ctrl-C; ``on_ready`` is called once connections are accepted."""

        def ready() -> None:
            self.gateway.loop = server.loop
            if on_ready is not None:
                on_ready(self)

        server = self._open()
        try:
            server.serve_here(ready)
        finally:
            self.gateway.loop = None
            self.gateway.workers.close()

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
        return Server(App(self.gateway), [front, second])

    # --- where it is --------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """``http://host:port``: the status page."""
        return self.gateway.origin_for(())

    @property
    def base_url(self) -> str:
        """What a client takes as its base URL: ``http://host:port/v1``."""
        return f"{self.url}/v1"

    @property
    def cdn_url(self) -> str:
        """The second origin, which plays a content delivery network."""
        return self.gateway.origin_for((), self.gateway.cdn_port)

    @property
    def api_key(self) -> str:
        """A key that is accepted."""
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
        self.gateway.jobs.settle_all()
        return self.gateway.bill

    @property
    def requests(self) -> list[RecordedRequest]:
        """Every request on either origin, oldest first."""
        return self.gateway.records.all()

    @property
    def jobs(self) -> list[Job]:
        """Every job that was taken on, oldest first, those of one-shot calls included."""
        return self.gateway.jobs.all()

    @property
    def complaints(self) -> list[str]:
        """What the gateway tolerates and a good client does not do, such as a poll without the model."""
        return list(self.gateway.complaints)

    def requests_to(self, route: str) -> list[RecordedRequest]:
        """The requests to one route: ``sync``, ``submit``, ``poll``, ``download``, ``output``, ``models``, …"""
        return [record for record in self.requests if record.route == route]

    @property
    def cdn_requests(self) -> list[RecordedRequest]:
        """The requests to the second origin."""
        return [record for record in self.requests if record.origin == "cdn"]

    @property
    def cdn_saw_key(self) -> bool:
        """Whether the second origin was ever sent an ``Authorization`` header."""
        return any(record.had_authorization for record in self.cdn_requests)

    # --- what shall happen --------------------------------------------------------------------------------

    def script(
        self,
        *faults: str | Mapping[str, Any],
        times: int | None = 1,
        on: str | None = None,
        prompt: str | None = None,
        task: str | None = None,
        **options: Any,
    ) -> None:
        """Let faults happen, in this order, to the next requests at their place.

        Args:
            faults: names of `faults.FAULTS`, or mappings with ``fault`` and any of the other arguments.
            times: how often each happens; None: always.
            on: another place than the fault's own: ``generate``, ``task``, ``poll``, ``download`` or ``output``.
            prompt: only for prompts that contain this.
            task: only for this task.
            options: attributes of the fault to set otherwise: ``retry_after=3``, ``status=599``, ``accepted=False``.

        Raises:
            ValueError: an unknown fault, place or option.
        """
        self.gateway.script.add(make_rules(faults, times=times, on=on, prompt=prompt, task=task, **options))

    def clear_script(self) -> None:
        """Forget all scripted faults."""
        self.gateway.script.clear()

    @property
    def pending_faults(self) -> int:
        """How many scripted faults have not happened yet."""
        return self.gateway.script.pending

    def set_faults(self, faults: str | Mapping[str, float] | None) -> None:
        """Use these probabilities from now on."""
        self.gateway.script.set_chances(parse_faults(faults))

    @property
    def dialect(self) -> Dialect:
        """The dialect of new jobs; may be set to a text such as ``"legacy+url_string"``."""
        return self.gateway.dialect

    @dialect.setter
    def dialect(self, value: str | Dialect) -> None:
        self.gateway.dialect = Dialect.parse(value)

    @property
    def latency(self) -> Latency:
        """The latency of new jobs; may be set as in the constructor."""
        return self.gateway.latency

    @latency.setter
    def latency(self, value: float | str | tuple[float, float] | Latency) -> None:
        self.gateway.latency = parse_latency(value)

    def advance(self, seconds: float) -> None:
        """Move the emulator's clock forward: jobs get on, URLs end, nobody sleeps."""
        self.gateway.advance(seconds)

    def finish(self, task_id: str | None = None) -> None:
        """End a job well, or all that still run, now."""
        self.gateway.finish(task_id)

    def fail(self, task_id: str | None = None, reason: str | Mapping[str, Any] | None = None) -> None:
        """End a job as failed, or all that still run, now; what was charged is given back."""
        self.gateway.fail(task_id, reason)

    def reset(self) -> None:
        """Forget every request, job and charge and all scripted faults."""
        self.gateway.reset()


def serve(on_ready: Callable[[Emulator], None] | None = None, **settings: Unpack[Settings]) -> None:
    """Run an emulator in this thread until Ctrl-C; settings as for `Emulator`."""
    Emulator(**settings).serve(on_ready)


__all__ = ["Emulator", "serve"]
