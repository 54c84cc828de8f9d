"""Opening a TCP or TLS connection in asyncio, and the stream on top of it that httpcore reads and writes.

httpcore's own asyncio stream goes through anyio, which costs about a quarter of a whole request. This one is an asyncio
protocol without detours: waiting is one future and one timer, and it can be cut off at once, without awaiting, which is
what makes cancelling a task leak nothing.

Names are looked up off the event loop, once for all requests that ask at the same time: a thousand calls begun together
would otherwise queue up in asyncio's few resolver threads. Addresses are tried in the resolver's order, the next one
after a quarter of a second, as RFC 8305 has it.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import ssl
from collections import deque
from typing import Any, Final, TypeAlias, cast

import anyio
import httpcore

from .guard import Guard, literal_address

Address: TypeAlias = tuple[int, Any]
"""Address family and socket address."""

NEXT_ADDRESS_AFTER: Final = 0.25
MAX_UNREAD: Final = 512 * 1024
"""Bytes that may wait for a slow reader before the socket is left alone; one read adds at most 256 KiB."""
YIELD_AFTER: Final = 512 * 1024
"""Bytes sent at a stretch: a fast receiver would keep the event loop from all else, its own answer included."""
_REFUSALS: Final = (b"3", b"4", b"5")


class AsyncioStream(asyncio.Protocol, httpcore.AsyncNetworkStream):
    """What httpcore needs of a connection: read, write, close. One reader and one writer at a time."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock  # ours: it can be closed even when the event loop it was used in has gone
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._unread: deque[bytes] = deque()
        self._unread_bytes = 0
        self._reading_paused = False
        self._writing_paused = False
        self._unyielded = 0
        self._ended = False
        self._lost: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None

    # -- called by the event loop --------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not checked: uvloop's transports are none by inheritance, and behave like one.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._unread.append(data)
        self._unread_bytes += len(data)
        if self._unread_bytes >= MAX_UNREAD and self._transport is not None and not self._reading_paused:
            self._reading_paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        self._ended = True
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        self._lost = exc
        if exc is not None:
            self._rescue_unread()
        self._wake()

    def pause_writing(self) -> None:
        self._writing_paused = True

    def resume_writing(self) -> None:
        self._writing_paused = False
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # -- called by httpcore --------------------------------------------------------------------------------------

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - httpcore's
        """The next piece, or empty at the end. It can be longer than ``max_bytes``: cutting it would be a copy."""
        while not self._unread:
            if self._ended:
                if self._lost is not None:
                    raise httpcore.ReadError(str(self._lost)) from self._lost
                return b""
            await self._wait(timeout, httpcore.ReadTimeout)
        data = self._unread.popleft()
        self._unread_bytes -= len(data)
        if self._reading_paused and self._unread_bytes < MAX_UNREAD // 2 and self._transport is not None:
            self._reading_paused = False
            self._transport.resume_reading()
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - httpcore's
        """Send ``buffer``; returns as soon as little of it waits in this process.

        Stops with a WriteError when the server has already refused the request: httpcore then reads that answer.
        """
        self._refuse_if_ended().write(buffer)
        self._unyielded += len(buffer)
        if self._unyielded >= YIELD_AFTER:
            self._unyielded = 0
            await asyncio.sleep(0)
        while self._writing_paused:
            self._refuse_if_ended()
            await self._wait(timeout, httpcore.WriteTimeout)

    async def aclose(self) -> None:
        self.hang_up()

    def hang_up(self) -> None:
        """Close at once. TLS says no goodbye: waiting for the other side's would keep the socket for half a minute."""
        if self._loop.is_closed():
            self._socket.close()
        elif self._transport is not None:
            self._transport.abort()

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":  # the socket is asked too: the event loop may not have got to its news yet
            return bool(self._unread) or self._ended or _has_news(self._socket)
        names = {"client_addr": "sockname", "server_addr": "peername", "socket": "socket", "ssl_object": "ssl_object"}
        return None if self._transport is None else self._transport.get_extra_info(names.get(info, info))

    async def _wait(self, seconds: float | None, late: type[Exception]) -> None:
        waiter = self._waiter = self._loop.create_future()
        timer = None if seconds is None else self._loop.call_later(seconds, _expire, waiter, late)
        try:
            await waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()

    def _refuse_if_ended(self) -> asyncio.Transport:
        # "HTTP/1.1 413 …": a redirect or an error before the body was sent. "100 Continue" is none.
        refused = self._unread and self._unread[0][9:10] in _REFUSALS
        if self._transport is None or self._ended or refused or self._transport.is_closing():
            raise httpcore.WriteError("the server ended the request before all of it was sent")
        return self._transport

    def _rescue_unread(self) -> None:
        # asyncio gives a connection up when sending fails, but the answer that says why may already be there.
        if self._transport is not None and self._transport.get_extra_info("ssl_object") is None:
            with contextlib.suppress(OSError):
                self.data_received(self._socket.recv(64 * 1024))


def _has_news(sock: socket.socket) -> bool:
    if sock.fileno() < 0:
        return True
    if not hasattr(select, "poll"):  # Windows
        return bool(select.select([sock], [], [], 0)[0])
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


def _expire(waiter: asyncio.Future[None], late: type[Exception]) -> None:
    if not waiter.done():
        waiter.set_exception(late())


class Dialler:
    """Opens connections within one event loop.

    Raises (from ``open``) the errors of httpcore that mean: nothing was sent. ``ForbiddenAddress`` passes through.
    """

    def __init__(self, guard: Guard | None = None) -> None:
        self._guard = guard
        self._lookups: dict[tuple[str, int], asyncio.Task[list[Address]]] = {}

    async def open(self, host: str, port: int, *, tls: ssl.SSLContext | None, seconds: float | None) -> AsyncioStream:
        """A connected stream; ``seconds`` are for lookup, connection and TLS together."""
        try:
            with anyio.fail_after(seconds):
                sock = await dial(await self._resolve(host, port))
                stream = AsyncioStream(sock)
                await asyncio.get_running_loop().create_connection(
                    lambda: stream, sock=sock, ssl=tls, server_hostname=None if tls is None else host
                )
                return stream
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(str(error) or "the connection could not be opened in time") from error
        except (OSError, UnicodeError) as error:  # UnicodeError: a name that no resolver takes
            raise httpcore.ConnectError(str(error)) from error

    async def _resolve(self, host: str, port: int) -> list[Address]:
        literal = None if "%" in host else literal_address(host)
        if literal is not None:
            family = socket.AF_INET if literal.version == 4 else socket.AF_INET6
            addresses: list[Address] = [(family, (str(literal), port))]
        else:
            lookup = self._lookups.get((host, port))
            if lookup is None:
                lookup = self._lookups[host, port] = asyncio.create_task(_look_up(host, port))
                lookup.add_done_callback(lambda task: self._forget(host, port, task))
            addresses = await asyncio.shield(lookup)  # the others wait for it still when this request is cancelled
        if self._guard is not None:
            self._guard.check_addresses(host, [sockaddr[0] for _, sockaddr in addresses])
        return addresses

    def _forget(self, host: str, port: int, task: asyncio.Task[list[Address]]) -> None:
        self._lookups.pop((host, port), None)
        if not task.cancelled():
            task.exception()  # read here, so that asyncio does not complain when all who waited have gone


async def _look_up(host: str, port: int) -> list[Address]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys((family, sockaddr) for family, _, _, _, sockaddr in found))


async def dial(addresses: list[Address]) -> socket.socket:
    """Connect to the first address that answers.

    Raises:
        OSError: none did; the error is that of the last attempt.
    """
    waiting = deque(addresses)
    running: set[asyncio.Task[socket.socket]] = set()
    problem: BaseException = OSError("the name has no address")
    try:
        while waiting or running:
            if waiting:
                running.add(asyncio.create_task(_connect(*waiting.popleft())))
            done, _ = await asyncio.wait(
                running, timeout=NEXT_ADDRESS_AFTER if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                running.discard(task)
                error = task.exception()
                if error is None:
                    return task.result()
                problem = error
    finally:
        for task in running:
            task.cancel()
            task.add_done_callback(_close_unused)
    raise problem


def _close_unused(task: asyncio.Task[socket.socket]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()


async def _connect(family: int, address: Any) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # head and body would wait for each other, 40 ms
        await asyncio.get_running_loop().sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock
