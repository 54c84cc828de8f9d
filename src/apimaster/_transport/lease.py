"""The two httpx transports that lease one connection to each request.

Strategy: a request takes the idle connection that was used last, or opens a new one, and has it to itself until its
response is closed. Requests wait for each other only beyond ``max_connections``: a caller that wants a lower limit sets
it in front of the transport, where waiting costs nothing.

A paid POST needs a fresh connection: a server may close an idle one at the very moment at which a request goes out, and
then nobody knows whether the server took the request. Servers wait at least 5 s before they do so (uvicorn and Node 5,
nginx 75), so a request that must not be sent twice takes only a connection that was used within the last 4 s. A new
connection costs some 0.1 s, a picture 10 s or more. Requests that are safe to retry take older connections too.

The errors tell the phases of a request apart: ConnectError, ConnectTimeout and PoolTimeout mean that nothing was sent;
any other error means that something may have been.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from typing import Any, Final

import anyio
import httpcore
import httpx

from .connect import Connector
from .httpcore import CORE_ERRORS, core_request, reraise, response
from .idle_connections import KEEPALIVE, IdleConnections, PooledConnection
from .ssrf import AddressGuard
from .stream import READ_SIZE

FRESH: Final = 4.0
"""Seconds of idleness up to which a connection is good enough for a request that must not be sent twice."""
SAFE_METHODS: Final = frozenset(("GET", "HEAD", "OPTIONS"))

SyncPooled = PooledConnection[httpcore.HTTP11Connection]
AsyncPooled = PooledConnection[httpcore.AsyncHTTP11Connection]
TLS = Callable[[], ssl.SSLContext]


def _max_age(request: httpx.Request) -> float:
    return KEEPALIVE if request.method in SAFE_METHODS else FRESH


def _timeout(request: httpx.Request, phase: str) -> float | None:
    timeouts: dict[str, float | None] = request.extensions.get("timeout", {})
    return timeouts.get(phase)


class _SyncConnection(httpcore.HTTP11Connection):
    READ_NUM_BYTES = READ_SIZE  # twice httpcore's: pictures are large


class LeaseTransport(httpx.BaseTransport):
    """Leases a connection to each request. Safe to share between threads.

    Args:
        tls: returns the TLS context; not called before the first https request.
        guard: checks the addresses that names resolve to; None: no check.
        max_connections: requests in flight at once; others wait, up to their ``pool`` timeout.
        idle: the list of idle connections.
    """

    def __init__(
        self,
        tls: TLS,
        *,
        guard: AddressGuard | None = None,
        max_connections: int | None = None,
        idle: IdleConnections[httpcore.HTTP11Connection] | None = None,
    ) -> None:
        self._tls = tls
        self._guard = guard
        self._slots = None if max_connections is None else threading.BoundedSemaphore(max_connections)
        self._idle: IdleConnections[httpcore.HTTP11Connection] = IdleConnections() if idle is None else idle
        self._backend = httpcore.SyncBackend()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        wanted = core_request(request)
        if self._slots is not None and not self._slots.acquire(timeout=_timeout(request, "pool")):
            raise httpx.PoolTimeout("no connection became free in time", request=request)
        pooled: SyncPooled | None = None
        try:
            pooled = self._idle.take(wanted.url.origin, max_age=_max_age(request))
            if pooled is None:
                pooled = self._open(wanted.url.origin, _timeout(request, "connect"))
            answer = pooled.connection.handle_request(wanted)
        except CORE_ERRORS as error:
            self._end(pooled, keep=False)
            reraise(error)
        except BaseException:
            self._end(pooled, keep=False)
            raise
        assert isinstance(answer.stream, Iterable)
        return response(answer, _Content(answer.stream, lambda: self._end(pooled)))

    def close(self) -> None:
        self._idle.close()

    def _open(self, origin: httpcore.Origin, seconds: float | None) -> SyncPooled:
        host = origin.host.decode("ascii")
        # First, so that certificates that can't be used are named even where nothing answers.
        tls = self._tls() if origin.scheme == b"https" else None
        stream = self._dial(host, origin.port, seconds)
        if tls is not None:
            try:
                stream = stream.start_tls(tls, server_hostname=host, timeout=seconds)
            except BaseException:
                stream.close()
                raise
        return PooledConnection(origin, _SyncConnection(origin, stream), stream.close)

    def _dial(self, host: str, port: int, timeout: float | None) -> httpcore.NetworkStream:
        try:
            if self._guard is None or self._guard.trusts(host):
                return self._backend.connect_tcp(host, port, timeout=timeout, socket_options=())
            addresses = self._guard.resolve(host, port)
        except (OSError, UnicodeError) as error:  # UnicodeError: a name that no resolver takes
            raise httpcore.ConnectError(str(error)) from error
        # Every address gets its share of the time, so that one that drops packets does not use up all of it.
        share = None if timeout is None else timeout / len(addresses)
        for address in addresses[:-1]:
            with contextlib.suppress(httpcore.ConnectError, httpcore.ConnectTimeout):
                return self._backend.connect_tcp(address, port, timeout=share, socket_options=())
        return self._backend.connect_tcp(addresses[-1], port, timeout=share, socket_options=())

    def _end(self, pooled: SyncPooled | None, *, keep: bool = True) -> None:
        try:
            if pooled is not None and keep:
                self._idle.give_back(pooled)
            elif pooled is not None:
                pooled.hang_up()
        finally:
            if self._slots is not None:
                self._slots.release()


class _Content(httpx.SyncByteStream):
    """The body of a response; closing it ends the lease, once."""

    def __init__(self, stream: Any, end: Callable[[], None]) -> None:
        self._stream = stream  # httpcore's: iterable, with close()
        self._end: Callable[[], None] | None = end

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._stream
        except CORE_ERRORS as error:
            reraise(error)

    def close(self) -> None:
        end, self._end = self._end, None
        if end is not None:
            try:
                self._stream.close()
            finally:
                end()


class AsyncLeaseTransport(httpx.AsyncBaseTransport):
    """The same for asyncio, within one event loop. Arguments as for ``LeaseTransport``."""

    def __init__(
        self,
        tls: TLS,
        *,
        guard: AddressGuard | None = None,
        max_connections: int | None = None,
        idle: IdleConnections[httpcore.AsyncHTTP11Connection] | None = None,
    ) -> None:
        self._tls = tls
        self._connector = Connector(guard)
        self._slots = None if max_connections is None else anyio.Semaphore(max_connections, max_value=max_connections)
        self._idle: IdleConnections[httpcore.AsyncHTTP11Connection] = IdleConnections() if idle is None else idle

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        wanted = core_request(request)
        if self._slots is not None:
            await _acquire(self._slots, request)
        pooled: AsyncPooled | None = None
        try:
            pooled = self._idle.take(wanted.url.origin, max_age=_max_age(request))
            if pooled is None:
                pooled = await self._open(wanted.url.origin, _timeout(request, "connect"))
            answer = await pooled.connection.handle_async_request(wanted)
        except CORE_ERRORS as error:
            self._end(pooled, keep=False)
            reraise(error)
        except BaseException:
            self._end(pooled, keep=False)
            raise
        assert isinstance(answer.stream, AsyncIterable)
        return response(answer, _AsyncContent(answer.stream, lambda: self._end(pooled)))

    async def aclose(self) -> None:
        self.abandon()

    def abandon(self) -> None:
        """Close without awaiting, even if the event loop is closed."""
        self._idle.close()

    async def _open(self, origin: httpcore.Origin, seconds: float | None) -> AsyncPooled:
        # The first call makes the TLS context, and reads files for it.
        tls = await asyncio.to_thread(self._tls) if origin.scheme == b"https" else None
        stream = await self._connector.open(origin.host.decode("ascii"), origin.port, tls=tls, seconds=seconds)
        return PooledConnection(origin, httpcore.AsyncHTTP11Connection(origin, stream), stream.hang_up)

    def _end(self, pooled: AsyncPooled | None, *, keep: bool = True) -> None:
        try:
            if pooled is not None and keep:
                self._idle.give_back(pooled)
            elif pooled is not None:
                pooled.hang_up()
        finally:
            if self._slots is not None:
                self._slots.release()


async def _acquire(slots: anyio.Semaphore, request: httpx.Request) -> None:
    try:
        slots.acquire_nowait()  # if one is free, without a detour through the event loop
    except anyio.WouldBlock:
        try:
            with anyio.fail_after(_timeout(request, "pool")):
                await slots.acquire()
        except TimeoutError as error:
            raise httpx.PoolTimeout("no connection became free in time", request=request) from error


class _AsyncContent(httpx.AsyncByteStream):
    """The same for asyncio."""

    def __init__(self, stream: Any, end: Callable[[], None]) -> None:
        self._stream = stream
        self._end: Callable[[], None] | None = end

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._stream:
                yield piece
        except CORE_ERRORS as error:
            reraise(error)

    async def aclose(self) -> None:
        end, self._end = self._end, None
        if end is not None:
            try:
                await self._stream.aclose()
            finally:
                end()  # a connection in the middle of a response is not idle, so this closes it
