"""The blocking driver. Only this one and the asyncio one (``aio.py``) touch network, clock and sleep.

A driver runs a flow to its end: it performs each operation and sends the answer, or throws the exception, into the
flow. The flow makes all decisions; the driver knows how httpx, threads and asyncio carry them out.

Both drivers keep the same promises to flows that run side by side: no more than the limit at once; an APIMasterError of
one flow is its outcome and does not touch the others; anything else (Ctrl-C, a cancelled task, a bug) stops them all.

The asyncio driver keeps waiting requests out of httpx's pool, whose bookkeeping grows with every one of them: a
semaphore admits as many short calls as pay off. Calls that stay open for minutes pass it by, on their own connections.
"""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

import httpx

from .._flows.operations import (
    Await,
    Fetch,
    Flow,
    Gather,
    Instant,
    Notify,
    Now,
    Operation,
    Reply,
    RunBlocking,
    Send,
    Sleep,
)
from .._transport import build_client
from ..errors import APIMasterError
from .departure import Departure
from .httpx import MAX_REPLY_BYTES, BodyLimit, HttpxCodec, broken_replies, headers_of, mapped_errors, reply_limit
from .waking import Stop, sleep_until

T = TypeVar("T")

log = logging.getLogger("apimaster")


class _Stopped(BaseException):
    """A sibling flow was interrupted. No ``except Exception`` in a worker thread catches this."""


class SyncDriver:
    """Runs flows on the calling thread, and those of a ``Gather`` in threads. Safe to share between threads."""

    def __init__(self, codec: HttpxCodec, http_client: httpx.Client | None) -> None:
        self._codec = codec
        self._given = http_client
        self._lock = threading.Lock()
        self._clients: tuple[httpx.Client, httpx.Client] | None = None
        self._closed = False

    @property
    def uses_given_client(self) -> bool:
        """Whether requests go through an ``httpx.Client`` of the caller's own."""
        return self._given is not None

    def run(self, flow: Flow[T], stop: Stop | None = None) -> T:
        """Run ``flow`` to its end. ``stop`` interrupts it between two operations and in its sleeps.

        It does not interrupt a look at the clock: a flow may take one between a reply and the record of it.
        """
        answer: Any = None
        thrown: BaseException | None = None
        try:
            while True:
                operation = flow.send(answer) if thrown is None else flow.throw(thrown)
                answer = thrown = None
                if stop is not None and stop.is_set() and not isinstance(operation, Now):
                    raise _Stopped
                try:
                    answer = self._perform(operation, stop)
                except Exception as error:  # noqa: BLE001  # the flow handles all of them
                    thrown = error
        except StopIteration as end:
            return cast("T", end.value)
        finally:
            flow.close()

    def _perform(self, operation: Operation, stop: Stop | None) -> object:
        match operation:
            case Now():
                return Instant(time.monotonic(), time.time())
            case Send():
                return self._send(operation)
            case Sleep(seconds, until):
                if until is not None:
                    sleep_until(until, seconds, stop)
                elif stop is None:
                    time.sleep(seconds)
                else:
                    stop.wait(seconds)
                return None
            case Notify():
                return notify(operation)
            case RunBlocking(function):
                return function()
            case Await(start):
                return start().result()
            case Fetch():
                return self._fetch(operation)
            case Gather():
                return _in_threads(self.run, operation, stop or Stop())

    def _send(self, operation: Send) -> Reply:
        body_limit = BodyLimit(reply_limit(operation, MAX_REPLY_BYTES), time.monotonic() + operation.timeout)
        client = self._opened()[0]
        departure = Departure(reports=self._given is None)
        with mapped_errors(departure):
            request = departure.hand_over(self._codec.request(client, operation), asynchronous=False)
            response = client.send(request, stream=True, auth=None, follow_redirects=False)
        with broken_replies():
            try:
                body = b"".join([body_limit.check(piece, time.monotonic()) for piece in response.iter_bytes()])
            finally:
                response.close()
        return self._codec.reply(response, body)

    def _fetch(self, operation: Fetch) -> Reply:
        body_limit = BodyLimit(operation.max_bytes, time.monotonic() + operation.timeout)
        client = self._opened()[1]
        departure = Departure(reports=self._given is None)
        with mapped_errors(departure):
            request = self._codec.download(client, operation)
            if self._given is not None:
                self._codec.check_address(operation.url)
            departure.hand_over(request, asynchronous=False)
            response = client.send(request, stream=True, auth=None, follow_redirects=False)
        with broken_replies():
            try:
                if response.is_success:
                    for piece in response.iter_raw():
                        operation.sink.write(body_limit.check(piece, time.monotonic()))
            finally:
                response.close()
        return Reply(response.status_code, headers_of(response))

    def _opened(self) -> tuple[httpx.Client, httpx.Client]:
        if self._clients is None or self._closed:
            with self._lock:
                check_open(self._closed)
                if self._clients is None:
                    given = self._given
                    self._clients = (given, given) if given else (build_client(), build_client(guard=self._codec.guard))
        return self._clients

    def close(self) -> None:
        """Close what this driver opened; the caller's own client stays open."""
        with self._lock:
            clients, self._clients, self._closed = self._clients, None, True
        if clients is not None and self._given is None:
            for client in clients:
                client.close()


def _in_threads(run: Callable[[Flow[object], Stop], object], operation: Gather, stop: Stop) -> list[object]:
    """Outcomes in order. Setting ``stop`` interrupts all flows at their next operation or in their sleep."""
    outcomes: list[object] = [None] * len(operation.flows)
    broken: list[BaseException] = []
    waiting, turn = iter(range(len(operation.flows))), threading.Lock()

    def work() -> None:
        while not stop.is_set():
            with turn:
                index = next(waiting, None)
            if index is None:
                return
            try:
                outcomes[index] = run(operation.flows[index], stop)
            except APIMasterError as error:
                outcomes[index] = error
            except BaseException as error:  # noqa: BLE001  # raised in the calling thread
                broken.append(error)
                stop.set()

    # Each thread sees the caller's context variables: callbacks and traces rely on them. The threads are daemons, so
    # that an interrupted program can end while a call is still open.
    threads = [
        threading.Thread(target=contextvars.copy_context().run, args=(work,), daemon=True, name="apimaster")
        for _ in range(min(operation.limit, len(operation.flows)))
    ]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except BaseException:
        stop.set()
        raise
    if broken:
        raise next((error for error in broken if not isinstance(error, _Stopped)), broken[0])
    return outcomes


def check_open(closed: bool) -> None:
    """Raise if the client is closed: opening it again by accident would leak connections."""
    if closed:
        raise RuntimeError("This client is closed; make a new one.")


def notify(operation: Notify) -> object:
    """Call the caller's callback. An error in it must not cost a picture that is paid for."""
    try:
        return operation.callback(operation.progress)
    except Exception:  # the caller's code may raise anything
        log.exception("on_progress raised; the image goes on without it")
        return None
