"""The emulated gateway without its routes: options, clock, bill, image jobs, pictures, fault script and request log.

The routes and the test's handle (`Emulator`) both work on this object. It does no I/O of its own.
"""

from __future__ import annotations

import asyncio
import math
import random
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from email.utils import formatdate
from typing import Any, Final

from ..catalog import spec_for
from .account import AccountBooks
from .bill import Bill
from .channels import Channel
from .clock import Clock
from .dialects import Dialect
from .fault_script import FaultScript
from .faults import Fault, Place
from .image_jobs import ImageJob, ImageJobs
from .latency import Latency
from .like import RecordedReply
from .options import Options, is_loopback
from .picture_store import PictureStore
from .records import RecordedRequest, RequestLog
from .request_headers import RequestSettings, read_request_headers
from .response_bodies import dump, error_body
from .responses import Response
from .uploaded_images import Uploads
from .validation import GenerationRequest
from .webhooks import Webhooks
from .worker_threads import WorkerThreads

ONE_SHOT_LIMITS: Final = {"0.5K": 180.0, "1K": 180.0, "2K": 300.0, "4K": 900.0}
"""Seconds after which the gateway answers a one-shot call with 408, by resolution."""

_MAX_COMPLAINTS: Final = 1000

RawHeaders = Iterable[tuple[bytes, bytes]]


class Gateway:
    """The state of one emulator."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.clock = Clock()
        self.bill = Bill()
        self.script = FaultScript(options.fault_rates, options.seed)
        self.webhooks = Webhooks(options, self.clock, self.script, self._look_at, self.call_soon)
        self.jobs = ImageJobs(self.clock, self.bill, options.history, self.webhooks.queue.job_ended)
        self.request_log = RequestLog(options.history, self.clock.unix_time)
        self.threads = WorkerThreads()
        self.pictures = PictureStore(options, self.clock, self.threads)
        self.uploads = Uploads(self.clock, options.upload_lifetime, options.history)
        self.books = AccountBooks(options, self.clock, self.bill, self.jobs, self.urls)
        self.dialect = options.dialect
        self.latency = options.latency
        self.channel = options.channel
        self.balance = options.balance
        self.complaints: list[str] = []
        self.port = 0
        self.cdn_port = 0
        self.loop: asyncio.AbstractEventLoop | None = None
        self._keys = None if options.api_keys is None else {key.encode(): n for n, key in enumerate(options.api_keys)}
        self._seen_keys: dict[bytes, int] = {}
        self._id_prefix = secrets.token_hex(6)
        self._restart_seed()

    def reset(self) -> None:
        """Forget every request, job, picture, charge, webhook and scripted fault; restart the clock and
        the random sequences.
        """
        self.request_log.clear()
        self.webhooks.clear()
        self.jobs.clear()
        self.pictures.clear()
        self.uploads.clear()
        self.bill.clear()
        self.books.clear()
        self.script.clear()
        self.script.set_rates(self.options.fault_rates)
        self.complaints.clear()
        self.clock.offset = 0.0
        self.dialect, self.latency, self.balance = self.options.dialect, self.options.latency, self.options.balance
        self.channel = self.options.channel
        self._restart_seed()

    def _restart_seed(self) -> None:
        self._random_latency = random.Random(f"{self.options.seed}/latency")  # noqa: S311  # no secret
        self._random_dialect = random.Random(f"{self.options.seed}/dialect")  # noqa: S311

    # --- clients ------------------------------------------------------------------------------------------

    def identify(self, record: RecordedRequest) -> int | None:
        """Give the request its id, and return the number of its key; None for no key or a wrong one."""
        record.id = f"{self._id_prefix}{record.number:010d}"
        if self.options.like.request_ids is not None:
            record.id_headers = self.options.like.request_ids
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
        """``http://host:port`` with the loopback host that the client used."""
        host = self.options.host
        for name, value in headers:
            if name == b"host":
                named = value.decode("latin-1").rpartition(":")[0].strip("[]")
                host = named if is_loopback(named) else host
        return f"http://{f'[{host}]' if ':' in host else host}:{port or self.port}"

    def add_complaint(self, text: str) -> None:
        """Note something that the gateway tolerates, but that a good client does not do."""
        if len(self.complaints) < _MAX_COMPLAINTS:
            self.complaints.append(text)

    # --- responses ----------------------------------------------------------------------------------------

    def error(
        self, record: RecordedRequest, status: int, message: str, kind: str = "invalid_request_error", code: object = ""
    ) -> Response:
        """A JSON error, or what the recorded gateway answers to the same mistake."""
        recorded = self.options.like.refusal(record.route, status, code)
        if recorded is not None:
            return self.recorded_response(recorded, record)
        return Response(status, error_body(message, kind, code, record.id), record=record)

    def unauthorized(self, record: RecordedRequest) -> Response:
        """The answer to a request without a key that the emulator knows."""
        if not record.had_authorization:
            return self.error(record, 401, "no API key was given", "new_api_error", "missing_token")
        return self.error(record, 401, "Invalid token", "new_api_error", "invalid_token")

    def recorded_response(self, recorded: RecordedReply, record: RecordedRequest) -> Response:
        """A reply of the gateway that the emulator is to be like."""
        document = recorded.document(self.clock.unix_time())
        body = document.encode() if isinstance(document, str) else dump(document)
        return Response(recorded.status, body, recorded.content_type, tuple(recorded.headers.items()), record=record)

    def fault_response(self, fault: Fault, record: RecordedRequest, body: bytes = b"") -> Response:
        """The response that a fault causes; a slow or truncated one carries ``body``."""
        record.fault = fault.name
        headers = dict(fault.headers)
        if fault.retry_after is not None:
            headers["retry-after"] = _retry_after(fault.retry_after, self.clock.unix_time())
        if fault.location is not None:
            headers["location"] = self._location(fault.location, record)
        content_type = fault.content_type
        if fault.wire in ("slow", "truncate") and not fault.body and fault.message is None:
            content_type = "application/json"
        elif fault.message is not None:
            body, content_type = error_body(fault.message, fault.type, fault.code, record.id), "application/json"
        else:
            body = fault.body.encode()
        return Response(
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
        path = f"{record.path}?{record.query}" if record.query else record.path
        if target == "cdn":
            return self.origin_for(record.raw_headers, self.port if record.origin == "cdn" else self.cdn_port) + path
        return path if target == "self" else target

    # --- image jobs ---------------------------------------------------------------------------------------

    def settings_for(self, record: RecordedRequest, place: Place) -> RequestSettings:
        """The fault that this request's own headers choose for ``place``, and its dialect, latency and channel.

        Raises:
            ValueError: a header can't be read.
        """
        return read_request_headers(record.raw_headers, place, self.dialect, self.latency, self.channel)

    def start_job(
        self,
        request: GenerationRequest,
        record: RecordedRequest,
        dialect: Dialect,
        latency: Latency,
        channel: Channel,
        *,
        submit: bool,
    ) -> ImageJob:
        """Accept a request, and charge for it."""
        dialect = dialect.for_task(self._random_dialect)
        if spec_for(request.model).batches:
            dialect = replace(dialect, polls="batch")
        job = self.jobs.start(
            request,
            key=record.key or 0,
            request_id=record.id,
            dialect=dialect,
            latency=latency,
            duration=latency.draw(self._random_latency),
            origin=self.origin_for(record.raw_headers),
            images=dialect.images_for(request.n, submit=submit),
            tracked=dialect.sync_as_task if not submit else not dialect.submit_as_image,
        )
        job.extra_images = job.images * (channel.pictures - 1)
        if not job.tracked:
            job.polls_needed = None  # nobody polls this job, so time has to end it
        record.task_id = job.id
        self.pictures.remember_references(job)
        return job

    def urls(self, job: ImageJob) -> list[str]:
        """The public URLs of a finished job's pictures; empty if the job delivers none."""
        if job.outcome != "succeeded":
            return []
        origin = job.origin
        if self.options.cdn:
            origin = f"{origin.rpartition(':')[0]}:{self.cdn_port}"
        return [origin + path for path in self.pictures.publish(job)]

    def finish(self, task_id: str | None = None) -> None:
        """End a job as succeeded now, or every job that runs; callable from any thread.

        Raises:
            KeyError: there is no such job.
        """
        for job in self.jobs.all() if task_id is None else [self._job(task_id)]:
            self.jobs.end(job)
            self.notify(job)

    def fail(self, task_id: str | None = None, reason: str | Mapping[str, Any] | None = None) -> None:
        """End a job as failed now, or every job that runs, and refund it; callable from any thread.

        Raises:
            KeyError: there is no such job.
        """
        for job in self.jobs.all() if task_id is None else [self._job(task_id)]:
            self.jobs.end(job, "failed", reason)
            self.notify(job)

    def _job(self, task_id: str) -> ImageJob:
        job = self.jobs.get(task_id)
        if job is None:
            raise KeyError(task_id)
        return job

    # --- time ---------------------------------------------------------------------------------------------

    def advance(self, seconds: float) -> None:
        """Move the clock forward; callable from any thread.

        Raises:
            ValueError: ``seconds`` is negative or not finite.
        """
        if not 0 <= seconds < math.inf:
            raise ValueError(f"the clock can't be moved by {seconds!r} seconds")
        self.clock.offset += seconds
        self.notify()

    def notify(self, job: ImageJob | None = None) -> None:
        """Let the one-shot calls that wait for this job, or for any, look at the clock again; from any thread."""

        def notify_waiting_calls() -> None:
            for each in [job] if job is not None else self.jobs.all():
                each.notified.set()

        self.call_soon(notify_waiting_calls)
        self.webhooks.queue.wake()

    def call_soon(self, function: Callable[[], None]) -> None:
        """Run a function on the event loop, from any thread; does nothing while the emulator does not run."""
        if self.loop is not None and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(function)

    def _look_at(self, job: ImageJob) -> None:
        self.jobs.book_refund(job)

    async def wait_for(self, job: ImageJob) -> bool:
        """Wait until a job has ended; False if the gateway's time limit for one-shot calls ends first."""
        deadline = job.created + ONE_SHOT_LIMITS[job.request.resolution]
        while not job.end_if_due(self.clock.now()):
            left = deadline - self.clock.now()
            if left <= 0:
                return False
            job.notified.clear()
            seconds = min(left, job.remaining(self.clock.now()))
            if seconds > 0:
                await _event_or_timeout(job.notified, seconds)
        self.jobs.book_refund(job)
        return True


async def _event_or_timeout(event: asyncio.Event, seconds: float) -> None:
    # cheaper than wait_for, which makes a task per call, and a thousand calls may wait here at once
    handle = asyncio.get_running_loop().call_later(seconds, event.set)
    try:
        await event.wait()
    finally:
        handle.cancel()


def _retry_after(value: float | str, now: float) -> str:
    if isinstance(value, str) and value.startswith("date:"):
        return formatdate(now + float(value[5:]), usegmt=True)
    return f"{value:g}" if isinstance(value, (int, float)) else value
