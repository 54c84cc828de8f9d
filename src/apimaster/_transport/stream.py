"""A connection in asyncio, with the interface that httpcore expects.

httpcore's own asyncio stream goes through anyio, which costs about a quarter of a whole request. This one is a plain
asyncio protocol: a wait is one future and one timer, and closing needs no await, so a cancelled task leaks nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
from collections import deque
from typing import Any, Final, cast

import httpcore

READ_SIZE: Final = 120 * 1024
"""Bytes per read. From 128 KiB on, memory comes from the system and goes back to it each time, which takes longer."""
MAX_UNREAD: Final = 256 * 1024
"""Bytes that may wait for a slow reader before the stream stops reading; one more read may come on top."""
YIELD_AFTER: Final = 1024 * 1024
"""Bytes sent without a break: a fast receiver would keep the event loop from all else, even from its own reply."""
_REFUSALS: Final = (b"3", b"4", b"5")


class AsyncioStream(asyncio.BufferedProtocol, httpcore.AsyncNetworkStream):
    """The methods that httpcore calls: read, write, close. One reader and one writer at a time.

    All streams of an event loop may share ``buffer``: nothing stays in it from one callback to the next. (A plain
    ``asyncio.Protocol`` gets fresh memory of 256 KiB for each read, however short the reply.)
    """

    def __init__(self, sock: socket.socket, buffer: memoryview) -> None:
        self._socket = sock  # kept to close it even after its event loop is closed
        self._buffer = buffer
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
        # Not checked: uvloop's transports behave like one without inheriting from it.
        self._transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._unread.append(bytes(self._buffer[:nbytes]))
        self._unread_bytes += nbytes
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

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """The next piece; empty at the end. It may be longer than ``max_bytes``: cutting it would mean a copy."""
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

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send ``buffer``, and return once little of it is left in this process.

        Raises WriteError if the server has already refused the request: httpcore then reads that reply.
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
        """Close at once, without TLS's closing handshake: a wait for the server's part would take half a minute."""
        if self._loop.is_closed():
            self._socket.close()
        elif self._transport is not None:
            self._transport.abort()

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":  # the event loop may not have read from the socket yet
            return bool(self._unread) or self._ended or _is_readable(self._socket)
        names = {"client_addr": "sockname", "server_addr": "peername", "socket": "socket", "ssl_object": "ssl_object"}
        return None if self._transport is None else self._transport.get_extra_info(names.get(info, info))

    async def _wait(self, seconds: float | None, timeout_error: type[Exception]) -> None:
        waiter = self._waiter = self._loop.create_future()
        timer = None if seconds is None else self._loop.call_later(seconds, _expire, waiter, timeout_error)
        try:
            await waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()

    def _refuse_if_ended(self) -> asyncio.Transport:
        # "HTTP/1.1 413 …" is a redirect or an error that came before the whole body was sent; "100 Continue" is not.
        refused = self._unread and self._unread[0][9:10] in _REFUSALS
        if self._transport is None or self._ended or refused or self._transport.is_closing():
            raise httpcore.WriteError("the server ended the request before all of it was sent")
        return self._transport

    def _rescue_unread(self) -> None:
        # asyncio drops a connection if sending fails, but a reply with the reason may be there already.
        if self._transport is not None and self._transport.get_extra_info("ssl_object") is None:
            with contextlib.suppress(OSError):
                self.buffer_updated(self._socket.recv_into(self._buffer))


def _is_readable(sock: socket.socket) -> bool:
    if sock.fileno() < 0:
        return True
    if not hasattr(select, "poll"):  # Windows
        return bool(select.select([sock], [], [], 0)[0])
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


def _expire(waiter: asyncio.Future[None], timeout_error: type[Exception]) -> None:
    if not waiter.done():
        waiter.set_exception(timeout_error())
