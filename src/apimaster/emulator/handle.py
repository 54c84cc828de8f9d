"""`Emulator`: an emulator as tests and the command line hold it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .bill import Bill
from .gateway import Gateway
from .jobs import Job
from .options import DEFAULT_KEY, make_options
from .records import RecordedRequest
from .scripting import make_rules
from .server import Server

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self


class Emulator:
    """A gateway on a loopback port.

    Keyword arguments are those of ``options.make_options``: ``latency``, ``dialect``, ``faults``, ``api_keys``,
    ``balance``, ``pictures``, ``picture_format``, ``url_lifetime``, ``cdn``, ``port``, ``seed`` and the rest.

    Raises:
        ValueError: an argument is not accepted; the message says what is.
    """

    def __init__(self, **options: Any) -> None:
        self.gateway = Gateway(make_options(**options))
        self._server = Server(self.gateway)

    def start(self) -> Self:
        """Listen; returns when it answers.

        Raises:
            OSError: the port is taken.
        """
        self._server.start()
        return self

    def stop(self) -> None:
        """End it. Stopping twice does no harm."""
        self._server.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def base_url(self) -> str:
        """What a client takes as its base URL, with ``/v1``."""
        return f"{self.gateway.origin_for(())}/v1"

    @property
    def cdn_url(self) -> str:
        """The second origin, where ``cdn=True`` was asked for."""
        return self.gateway.origin_for((), self.gateway.cdn_port)

    @property
    def api_key(self) -> str:
        """A key that is accepted."""
        keys = self.gateway.options.api_keys
        return keys[0] if keys else DEFAULT_KEY

    @property
    def bill(self) -> Bill:
        """What was charged and given back, up to now."""
        self.gateway.jobs.settle_all()
        return self.gateway.bill

    @property
    def requests(self) -> list[RecordedRequest]:
        """Every request, oldest first, without keys and pictures."""
        return self.gateway.records.all()

    @property
    def jobs(self) -> list[Job]:
        """Every job, oldest first."""
        return self.gateway.jobs.all()

    @property
    def complaints(self) -> list[str]:
        """What the gateway tolerated and a good client does not do."""
        return list(self.gateway.complaints)

    def script(self, *faults: str | Mapping[str, Any], **options: Any) -> None:
        """Let these faults happen next, in this order: names, or mappings with options; see ``scripting``."""
        self.gateway.script.add(make_rules(faults, **options))

    def advance(self, seconds: float) -> None:
        """Move the emulator's clock."""
        self.gateway.clock.offset += seconds
        self.gateway.wake()

    def finish(self, task_id: str | None = None) -> None:
        """End one job, or all that are running, with a picture."""
        self._end(task_id, None, None)

    def fail(self, task_id: str | None = None, reason: str | Mapping[str, Any] | None = None) -> None:
        """End one job, or all that are running, as failed; the charge is given back."""
        self._end(task_id, "failed", reason)

    def reset(self) -> None:
        """Forget everything that happened."""
        self.gateway.reset()

    def _end(self, task_id: str | None, outcome: str | None, reason: str | Mapping[str, Any] | None) -> None:
        for job in self.gateway.jobs.all():
            if task_id is None or job.id == task_id:
                self.gateway.jobs.end(job, outcome, reason)
                self.gateway.wake(job)
