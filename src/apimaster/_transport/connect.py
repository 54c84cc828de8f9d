"""Open TCP and TLS connections in asyncio.

A name is looked up off the event loop, once for all requests that need it at the same time: a thousand calls that begin
together would otherwise queue in asyncio's few resolver threads. The connector tries addresses in the resolver's order,
each a quarter of a second after the one before, as RFC 8305 says. If anything fails here, nothing was sent.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from typing import Any, Final, TypeAlias

import anyio
import httpcore

from .ssrf import AddressGuard, literal_address
from .stream import READ_SIZE, AsyncioStream

Address: TypeAlias = tuple[int, Any]
"""Address family and socket address."""

NEXT_ADDRESS_AFTER: Final = 0.25
"""Seconds."""


class Connector:
    """Opens connections within one event loop.

    ``open`` raises only those of httpcore's errors that mean "nothing was sent", and the guard's ``ForbiddenAddress``.
    """

    def __init__(self, guard: AddressGuard | None = None) -> None:
        self._guard = guard
        self._buffer = memoryview(bytearray(READ_SIZE))
        self._lookups: dict[tuple[str, int], asyncio.Task[list[Address]]] = {}

    async def open(self, host: str, port: int, *, tls: ssl.SSLContext | None, seconds: float | None) -> AsyncioStream:
        """A connected stream; lookup, connection and TLS together may take ``seconds``."""
        try:
            with anyio.fail_after(seconds):
                sock = await connect_first(await self._resolve(host, port))
                stream = AsyncioStream(sock, self._buffer)
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
            addresses = await asyncio.shield(lookup)  # others may wait for it even if this request is cancelled
        if self._guard is not None:
            self._guard.check_addresses(host, [sockaddr[0] for _, sockaddr in addresses])
        return addresses

    def _forget(self, host: str, port: int, task: asyncio.Task[list[Address]]) -> None:
        self._lookups.pop((host, port), None)
        if not task.cancelled():
            task.exception()  # read here, so that asyncio does not complain if nothing waits for it any more


async def _look_up(host: str, port: int) -> list[Address]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys((family, sockaddr) for family, _, _, _, sockaddr in found))


async def connect_first(addresses: list[Address]) -> socket.socket:
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
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else the body may wait 40 ms behind the head
        await asyncio.get_running_loop().sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock
