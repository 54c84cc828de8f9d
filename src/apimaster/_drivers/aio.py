"""The asyncio driver; ``sync.py`` describes drivers. It is a module of its own because importing asyncio takes time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal, TypeVar, cast

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
    Sink,
    Sleep,
)
from .._transport import LeanAsyncClient, build_aiohttp_client, build_async_client
from .._transport.per_loop import PerLoop
from ..errors import APIMasterError
from .departure import Departure
from .httpx import MAX_REPLY_BYTES, BodyLimit, HttpxCodec, broken_replies, headers_of, mapped_errors, reply_limit
from .mailbox import Mailbox
from .sync import check_open, log, notify

T = TypeVar("T")
AsyncTransport = Literal["httpx", "aiohttp"]

MAX_SHORT_CALLS: Final = 32
"""Short calls in flight at once, per client and event loop."""

_SINK_STEP: Final = 256 * 1024  # bytes passed to a thread at once: a switch costs as much as writing 100 kB


class _Session:
    """An asyncio driver's clients for one event loop: neither sockets nor a semaphore can move to another one."""

    def __init__(self, gateway: httpx.AsyncClient, outside: httpx.AsyncClient) -> None:
        self.gateway = gateway
        self.outside = outside
        self.short_calls = asyncio.Semaphore(MAX_SHORT_CALLS)
        self.mailbox = Mailbox()

    async def aclose(self) -> None:
        for client in (self.gateway, self.outside):
            if isinstance(client, LeanAsyncClient):  # the caller's own client stays open
                await client.aclose()

    def abandon(self) -> None:
        for client in (self.gateway, self.outside):
            if isinstance(client, LeanAsyncClient):
                client.abandon()


class AsyncDriver:
    """Runs flows on the running event loop; each flow of a ``Gather`` gets a task."""

    def __init__(self, codec: HttpxCodec, http_client: httpx.AsyncClient | None, transport: AsyncTransport) -> None:
        self._codec = codec
        self._given = http_client
        self._transport = transport
        self._sessions = PerLoop(self._open, close=_Session.aclose, abandon=_Session.abandon)
        self._closed = False

    async def run(self, flow: Flow[T]) -> T:
        """Run ``flow`` to its end. Cancelling the task stops it at once, wherever it is."""
        answer: Any = None
        thrown: BaseException | None = None
        try:
            while True:
                operation = flow.send(answer) if thrown is None else flow.throw(thrown)
                answer = thrown = None
                try:
                    answer = await self._perform(operation)
                except Exception as error:  # noqa: BLE001  # the flow handles all of them
                    thrown = error
        except StopIteration as end:
            return cast("T", end.value)
        finally:
            flow.close()

    async def _perform(self, operation: Operation) -> object:
        match operation:
            case Now():
                return Instant(time.monotonic(), time.time())
            case Send():
                return await self._send(operation)
            case Sleep(seconds, until):
                if until is None:
                    await asyncio.sleep(seconds)
                else:
                    await self._session().mailbox.wait_at_most(until, seconds)
                return None
            case Notify():
                await _notify(operation)
                return None
            case RunBlocking(function):
                return await asyncio.to_thread(function)
            case Await(start):
                future = start()  # also if the client was closed meanwhile: it may record what is paid for
                if self._closed:
                    return await asyncio.wrap_future(future)
                return await self._session().mailbox.wait(future)
            case Fetch():
                return await self._fetch(operation)
            case Gather():
                return await _in_tasks(self.run, operation)

    async def _send(self, operation: Send) -> Reply:
        session = self._session()
        if operation.long:
            return await self._exchange(session.gateway, operation)
        async with session.short_calls:
            return await self._exchange(session.gateway, operation)

    async def _exchange(self, client: httpx.AsyncClient, operation: Send) -> Reply:
        body_limit = BodyLimit(reply_limit(operation, MAX_REPLY_BYTES), time.monotonic() + operation.timeout)
        # aiohttp reports no steps; its errors are mapped where they are raised.
        departure = Departure(reports=self._given is None and self._transport == "httpx")
        with mapped_errors(departure):
            request = departure.hand_over(self._codec.request(client, operation), asynchronous=True)
            response = await client.send(request, stream=True, auth=None, follow_redirects=False)
        with broken_replies():
            try:
                body = b"".join([body_limit.check(piece, time.monotonic()) async for piece in response.aiter_bytes()])
            finally:
                await response.aclose()
        return self._codec.reply(response, body)

    async def _fetch(self, operation: Fetch) -> Reply:
        body_limit = BodyLimit(operation.max_bytes, time.monotonic() + operation.timeout)
        client = self._session().outside
        departure = Departure(reports=self._given is None)
        with mapped_errors(departure):
            request = self._codec.download(client, operation)
            if self._given is not None:
                await asyncio.to_thread(self._codec.check_address, operation.url)
            departure.hand_over(request, asynchronous=True)
            response = await client.send(request, stream=True, auth=None, follow_redirects=False)
        with broken_replies():
            try:
                pieces: list[bytes] = []
                if response.is_success:
                    async for piece in response.aiter_raw():
                        pieces.append(body_limit.check(piece, time.monotonic()))
                        if sum(map(len, pieces)) >= _SINK_STEP:
                            await asyncio.to_thread(_write, operation.sink, pieces)
                            pieces = []  # a new list: if this task is cancelled, the thread still writes the old one
                    await asyncio.to_thread(_write, operation.sink, pieces)
            finally:
                await response.aclose()
        return Reply(response.status_code, headers_of(response))

    def _session(self) -> _Session:
        check_open(self._closed)
        return self._sessions.get()

    def _open(self) -> _Session:
        given = self._given
        if given is not None:
            return _Session(given, given)
        gateway = build_aiohttp_client() if self._transport == "aiohttp" else build_async_client()
        return _Session(gateway, build_async_client(guard=self._codec.guard))

    async def aclose(self) -> None:
        """Close what this driver opened, on all event loops; the caller's own client stays open."""
        self._closed = True
        await self._sessions.aclose()


async def _notify(operation: Notify) -> None:
    outcome = notify(operation)
    if hasattr(outcome, "__await__"):
        try:
            await outcome
        except Exception:  # noqa: BLE001  # the caller's code may raise anything
            log.exception("on_progress raised; the image goes on without it")


async def _in_tasks(run: Callable[[Flow[object]], Awaitable[object]], operation: Gather) -> list[object]:
    """Outcomes in order. Cancelling the caller cancels all flows and waits until they have ended."""
    slots = asyncio.Semaphore(operation.limit)

    async def one(flow: Flow[object]) -> object:
        async with slots:
            try:
                return await run(flow)
            except APIMasterError as error:
                return error

    tasks = [asyncio.ensure_future(one(flow)) for flow in operation.flows]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _write(sink: Sink, pieces: list[bytes]) -> None:
    for piece in pieces:
        sink.write(piece)
