"""The emulated gateway without its doors: options, clock, bill, jobs, pictures, script and records in one place.

The routes and the test's own handle (`Emulator`) both work on this object. It does no I/O of its own.
"""

from __future__ import annotations

import asyncio
import math
import random
import secrets
from collections.abc import Iterable, Mapping
from email.utils import formatdate
from typing import Any, Final

from .answers import Answer
from .bill import Bill
from .checks import Order
from .dialects import Dialect
from .fault import Fault, Place
from .gallery import Gallery
from .jobs import Clock, Job, Jobs
from .options import Latency, Options, is_loopback
from .records import RecordedRequest, Records
from .replies import error_body
from .request_headers import read_marks
from .scripting import Script
from .workers import Workers

GATEWAY_PATIENCE: Final = {"0.5K": 180.0, "1K": 180.0, "2K": 300.0, "4K": 900.0}
"""Seconds after which the gateway answers a one-shot call with 408 (wire contract, section 4)."""

RawHeaders = Iterable[tuple[bytes, bytes]]


class Gateway:
    """Everything that one emulator knows."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.clock = Clock()
        self.bill = Bill()
        self.jobs = Jobs(self.clock, self.bill, options.history)
        self.records = Records(options.history, self.clock.wall)
        self.workers = Workers()
        self.gallery = Gallery(options, self.clock, self.workers)
        self.script = Script(options.faults, options.seed)
        self.dialect = options.dialect
        self.latency = options.latency
        self.balance = options.balance
        self.complaints: list[str] = []
        self.port = 0
        self.cdn_port = 0
        self.loop: asyncio.AbstractEventLoop | None = None
        self._keys = None if options.api_keys is None else {key.encode(): n for n, key in enumerate(options.api_keys)}
        self._seen_keys: dict[bytes, int] = {}
        self._id_prefix = secrets.token_hex(6)
        self._restart_dice()

    def reset(self) -> None:
        """Forget every request, job, picture and charge, and all scripted faults; start the seed again."""
        self.records.clear()
        self.jobs.clear()
        self.gallery.clear()
        self.bill.clear()
        self.script.clear()
        self.script.set_chances(self.options.faults)
        self.complaints.clear()
        self.dialect, self.latency, self.balance = self.options.dialect, self.options.latency, self.options.balance
        self._restart_dice()

    def _restart_dice(self) -> None:
        self._latency_dice = random.Random(f"{self.options.seed}/latency")  # noqa: S311  # no secret
        self._dialect_dice = random.Random(f"{self.options.seed}/dialect")  # noqa: S311

    # --- callers ------------------------------------------------------------------------------------------

    def identify(self, record: RecordedRequest) -> int | None:
        """Number the request and tell whose it is: the place of its key, or None."""
        record.id = f"{self._id_prefix}{record.number:010d}"
        for name, value in record.raw_headers:
            if name == b"authorization":
                record.had_authorization = True
                scheme, _, key = value.partition(b" ")
                if scheme.lower() == b"bearer":
                    record.key = self._number_of(key)
        return record.key

    def _number_of(self, key: bytes) -> int | None:
        if self._keys is not None:
            return self._keys.get(key)
        return self._seen_keys.setdefault(key, len(self._seen_keys)) if key else None

    def origin_for(self, headers: RawHeaders, port: int | None = None) -> str:
        """``http://host:port`` with the host by which the caller knows this machine."""
        host = self.options.host
        for name, value in headers:
            if name == b"host":
                named = value.decode("latin-1").rpartition(":")[0].strip("[]")
                host = named if is_loopback(named) else host
        return f"http://{f'[{host}]' if ':' in host else host}:{port or self.port}"

    def complain(self, text: str) -> None:
        """Note what the gateway tolerates and a good client does not do."""
        if len(self.complaints) < 1000:
            self.complaints.append(text)

    # --- answers ------------------------------------------------------------------------------------------

    def error(
        self, record: RecordedRequest, status: int, message: str, kind: str = "invalid_request_error", code: object = ""
    ) -> Answer:
        """A JSON error."""
        return Answer(status, error_body(message, kind, code, record.id), record=record)

    def play(self, fault: Fault, record: RecordedRequest, body: bytes = b"") -> Answer:
        """The answer that a fault stands for; ``body`` is what a slow or truncated one is made of."""
        record.fault = fault.name
        headers = dict(fault.headers)
        if fault.retry_after is not None:
            headers["retry-after"] = _retry_after(fault.retry_after, self.clock.wall())
        if fault.location is not None:
            headers["location"] = self._location(fault.location, record)
        content_type = fault.content_type
        if fault.wire in ("slow", "truncate") and not fault.body and fault.message is None:
            content_type = "application/json"
        elif fault.message is not None:
            body, content_type = error_body(fault.message, fault.type, fault.code, record.id), "application/json"
        else:
            body = fault.body.encode()
        return Answer(
            fault.status,
            body,
            content_type if body else "",
            tuple(headers.items()),
            wire=fault.wire,
            seconds=fault.seconds,
            reset=fault.reset,
            record=record,
        )

    def _location(self, target: str, record: RecordedRequest) -> str:
        tail = f"{record.path}?{record.query}" if record.query else record.path
        if target == "cdn":
            return self.origin_for(record.raw_headers, self.port if record.origin == "cdn" else self.cdn_port) + tail
        return tail if target == "self" else target

    # --- what applies to one request ----------------------------------------------------------------------

    def marked(self, record: RecordedRequest, place: Place) -> tuple[Fault | None, Dialect, Latency]:
        """The fault, dialect and latency for this request by its own headers; see ``request_headers.py``.

        Raises:
            ValueError: one of the headers can't be read.
        """
        return read_marks(record.raw_headers, place, self.dialect, self.latency)

    def begin(self, order: Order, record: RecordedRequest, dialect: Dialect, latency: Latency, *, submit: bool) -> Job:
        """Take on a job, charge for it, and let the script decide how it ends."""
        dialect = dialect.for_task(self._dialect_dice)
        honours_n = dialect.sync_n if not submit and not dialect.sync_as_task else dialect.task_n
        job = self.jobs.begin(
            order,
            key=record.key or 0,
            request_id=record.id,
            dialect=dialect,
            latency=latency,
            duration=latency.draw(self._latency_dice),
            origin=self.origin_for(record.raw_headers),
            images=order.n if honours_n else 1,
            tracked=dialect.sync_as_task if not submit else not dialect.submit_as_image,
        )
        record.task_id = job.id
        self.gallery.remember_references(job)
        return job

    def urls(self, job: Job) -> list[str]:
        """The public URLs of a finished job's pictures; none where it delivers none."""
        if job.outcome != "succeeded":
            return []
        origin = job.origin
        if self.options.cdn:
            origin = f"{origin.rpartition(':')[0]}:{self.cdn_port}"
        return [origin + path for path in self.gallery.issue(job)]

    def advance(self, seconds: float) -> None:
        """Move the clock forward; from any thread.

        Raises:
            ValueError: ``seconds`` is negative.
        """
        if not 0 <= seconds < math.inf:
            raise ValueError(f"the clock can't be moved by {seconds!r} seconds")
        self.clock.offset += seconds
        self.wake()

    def finish(self, task_id: str | None = None) -> None:
        """End a job well, or all that still run, now; from any thread.

        Raises:
            KeyError: there is no such job.
        """
        for job in self.jobs.all() if task_id is None else [self._job(task_id)]:
            self.jobs.end(job)
            self.wake(job)

    def fail(self, task_id: str | None = None, reason: str | Mapping[str, Any] | None = None) -> None:
        """End a job as failed, or all that still run, now, and give back what was charged; from any thread.

        Raises:
            KeyError: there is no such job.
        """
        for job in self.jobs.all() if task_id is None else [self._job(task_id)]:
            self.jobs.end(job, "failed", reason)
            self.wake(job)

    def _job(self, task_id: str) -> Job:
        job = self.jobs.get(task_id)
        if job is None:
            raise KeyError(task_id)
        return job

    def wake(self, job: Job | None = None) -> None:
        """Let one-shot calls that wait for a job look at the clock again; from any thread."""

        def set_all() -> None:
            for waiting in [job] if job is not None else self.jobs.all():
                waiting.woken.set()

        if self.loop is not None and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(set_all)

    async def wait_for(self, job: Job) -> bool:
        """Wait until a job has ended, as long as the gateway has patience; False if it has not."""
        deadline = job.created + GATEWAY_PATIENCE[job.order.resolution]
        while not job.end_if_due(self.clock.now()):
            patience = deadline - self.clock.now()
            if patience <= 0:
                return False
            job.woken.clear()
            left = min(patience, job.remaining(self.clock.now()))
            if not math.isfinite(left) or left > 0:
                await _event_or_timeout(job.woken, left)
        self.jobs.settle(job)
        return True


async def _event_or_timeout(event: asyncio.Event, seconds: float) -> None:
    # cheaper than wait_for, which makes a task per call: a thousand of these are in flight at once
    handle = asyncio.get_running_loop().call_later(seconds, event.set)
    try:
        await event.wait()
    finally:
        handle.cancel()


def _retry_after(value: float | str, wall: float) -> str:
    if isinstance(value, str) and value.startswith("date:"):
        return formatdate(wall + float(value[5:]), usegmt=True)
    return f"{value:g}" if isinstance(value, (int, float)) else value
