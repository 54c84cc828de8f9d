"""Two thin drivers that carry out what flows ask for: the only place that touches network, clock or sleep.

A driver runs a flow to its end: it performs each operation and sends the answer back in, or throws the exception
in. Everything that is worth deciding was decided in the flow; what is left is how httpx, threads and asyncio do it.

Requests wait outside httpx's pool, whose bookkeeping grows with every queued request: a gate lets through as many
short calls as pay off, and calls that are held open for minutes pass it by, on connections of their own.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from typing import Any, Final, Literal, TypeVar, cast
from weakref import WeakKeyDictionary

import httpx

from .operations import Fetch, Flow, Instant, Now, Operation, Reply, Send, Sleep, Tell, Together, Work
from .side_by_side import Stopped, in_tasks, in_threads
from .transport import build_aiohttp_client, build_async_client, build_client
from .wiring import MAX_REPLY_BYTES, Intake, Wiring, headers_of, mapped

T = TypeVar("T")
AsyncTransport = Literal["httpx", "aiohttp"]

GATE: Final = 32
"""Short calls on the wire at once, per client and event loop."""

_SINK_STEP: Final = 512 * 1024  # bytes handed to a thread at once: a hop costs as much as writing some 100 kB

_log = logging.getLogger("apimaster")


class SyncDriver:
    """Runs flows on the calling thread; flows that go together get a thread each. Safe to share between threads."""

    def __init__(self, wiring: Wiring, http_client: httpx.Client | None) -> None:
        self._wiring = wiring
        self._given = http_client
        self._lock = threading.Lock()
        self._clients: tuple[httpx.Client, httpx.Client] | None = None
        self._closed = False

    def run(self, flow: Flow[T], stop: threading.Event | None = None) -> T:
        """Run ``flow`` to its end. ``stop`` interrupts it between two operations and in its sleeps."""
        answer: Any = None
        thrown: BaseException | None = None
        try:
            while True:
                operation = flow.send(answer) if thrown is None else flow.throw(thrown)
                answer = thrown = None
                if stop is not None and stop.is_set():
                    raise Stopped
                try:
                    answer = self._perform(operation, stop)
                except Exception as error:  # noqa: BLE001  # whatever it is, the flow decides
                    thrown = error
        except StopIteration as end:
            return cast("T", end.value)
        finally:
            flow.close()

    def _perform(self, operation: Operation, stop: threading.Event | None) -> object:
        match operation:
            case Now():
                return Instant(time.monotonic(), time.time())
            case Send():
                return self._send(operation)
            case Sleep(seconds):
                if stop is None:
                    time.sleep(seconds)
                else:
                    stop.wait(seconds)
                return None
            case Tell():
                return _tell(operation)
            case Work(function):
                return function()
            case Fetch():
                return self._fetch(operation)
            case Together():
                return in_threads(self.run, operation, stop or threading.Event())

    def _send(self, operation: Send) -> Reply:
        intake = Intake(MAX_REPLY_BYTES, time.monotonic() + operation.timeout)
        with mapped():
            client = self._opened()[0]
            request = self._wiring.request(client, operation)
            response = client.send(request, stream=True, auth=None, follow_redirects=False)
            try:
                body = b"".join([intake.check(piece, time.monotonic()) for piece in response.iter_bytes()])
            finally:
                response.close()
        return self._wiring.reply(response, body)

    def _fetch(self, operation: Fetch) -> Reply:
        intake = Intake(operation.max_bytes, time.monotonic() + operation.timeout)
        with mapped():
            client = self._opened()[1]
            request = self._wiring.download(client, operation)
            if self._given is not None:
                self._wiring.check_address(operation.url)
            response = client.send(request, stream=True, auth=None, follow_redirects=False)
            try:
                if response.is_success:
                    for piece in response.iter_raw():
                        operation.sink.write(intake.check(piece, time.monotonic()))
            finally:
                response.close()
        return Reply(response.status_code, headers_of(response))

    def _opened(self) -> tuple[httpx.Client, httpx.Client]:
        if self._clients is None or self._closed:
            with self._lock:
                _refuse_if(self._closed)
                if self._clients is None:
                    given = self._given
                    self._clients = (
                        (given, given) if given else (build_client(), build_client(guard=self._wiring.guard))
                    )
        return self._clients

    def close(self) -> None:
        """Close what this driver opened; a client that was handed in stays open."""
        with self._lock:
            clients, self._clients, self._closed = self._clients, None, True
        if clients is not None and self._given is None:
            for client in clients:
                client.close()


class _Session:
    """What an asyncio driver holds per event loop: neither sockets nor gates can move to another one."""

    def __init__(self, gateway: httpx.AsyncClient, outside: httpx.AsyncClient) -> None:
        self.gateway = gateway
        self.outside = outside
        self.gate = asyncio.Semaphore(GATE)


class AsyncDriver:
    """Runs flows on the running event loop; flows that go together get a task each."""

    def __init__(self, wiring: Wiring, http_client: httpx.AsyncClient | None, transport: AsyncTransport) -> None:
        self._wiring = wiring
        self._given = http_client
        self._transport = transport
        self._sessions: WeakKeyDictionary[asyncio.AbstractEventLoop, _Session] = WeakKeyDictionary()
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
                except Exception as error:  # noqa: BLE001  # whatever it is, the flow decides
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
            case Sleep(seconds):
                await asyncio.sleep(seconds)
                return None
            case Tell():
                await _tell_awaiting(operation)
                return None
            case Work(function):
                return await asyncio.to_thread(function)
            case Fetch():
                return await self._fetch(operation)
            case Together():
                return await in_tasks(self.run, operation)

    async def _send(self, operation: Send) -> Reply:
        session = self._session()
        if operation.long:
            return await self._exchange(session.gateway, operation)
        async with session.gate:
            return await self._exchange(session.gateway, operation)

    async def _exchange(self, client: httpx.AsyncClient, operation: Send) -> Reply:
        intake = Intake(MAX_REPLY_BYTES, time.monotonic() + operation.timeout)
        with mapped():
            request = self._wiring.request(client, operation)
            response = await client.send(request, stream=True, auth=None, follow_redirects=False)
            try:
                body = b"".join([intake.check(piece, time.monotonic()) async for piece in response.aiter_bytes()])
            finally:
                await response.aclose()
        return self._wiring.reply(response, body)

    async def _fetch(self, operation: Fetch) -> Reply:
        intake = Intake(operation.max_bytes, time.monotonic() + operation.timeout)
        with mapped():
            client = self._session().outside
            request = self._wiring.download(client, operation)
            if self._given is not None:
                await asyncio.to_thread(self._wiring.check_address, operation.url)
            response = await client.send(request, stream=True, auth=None, follow_redirects=False)
            try:
                held = bytearray()
                if response.is_success:
                    async for piece in response.aiter_raw():
                        held += intake.check(piece, time.monotonic())
                        if len(held) >= _SINK_STEP:
                            await asyncio.to_thread(operation.sink.write, bytes(held))
                            held.clear()
                    if held:
                        await asyncio.to_thread(operation.sink.write, bytes(held))
            finally:
                await response.aclose()
        return Reply(response.status_code, headers_of(response))

    def _session(self) -> _Session:
        _refuse_if(self._closed)
        loop = asyncio.get_running_loop()
        session = self._sessions.get(loop)
        if session is None:
            given = self._given
            if given is not None:
                session = _Session(given, given)
            else:
                gateway = build_aiohttp_client() if self._transport == "aiohttp" else build_async_client()
                session = _Session(gateway, build_async_client(guard=self._wiring.guard))
            self._sessions[loop] = session
        return session

    async def aclose(self) -> None:
        """Close what this driver opened on the running loop; a client that was handed in stays open."""
        self._closed = True
        session = self._sessions.pop(asyncio.get_running_loop(), None)
        if session is not None and self._given is None:
            await session.gateway.aclose()
            await session.outside.aclose()


def _refuse_if(closed: bool) -> None:
    if closed:
        raise RuntimeError("This client is closed; make a new one.")


def _tell(operation: Tell) -> object:
    """Call the caller's callback. What goes wrong in it must not cost a picture that is being paid for."""
    try:
        return operation.callback(operation.progress)
    except Exception:  # noqa: BLE001  # the caller's code may raise anything
        _log.exception("on_progress raised; the image goes on without it")
        return None


async def _tell_awaiting(operation: Tell) -> None:
    outcome = _tell(operation)
    if hasattr(outcome, "__await__"):
        try:
            await outcome
        except Exception:  # noqa: BLE001  # the same
            _log.exception("on_progress raised; the image goes on without it")
