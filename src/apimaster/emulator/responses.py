"""HTTP responses, and how they go on the wire: whole, slowly, cut off, endlessly, or not at all.

A `Response` is an ASGI application. To cut a connection it needs the connection itself, which ASGI does not hand out;
``server.py`` puts it into the scope.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.types import Receive, Scope, Send

from .faults import Wire
from .records import RecordedRequest

JSON: Final = "application/json; charset=utf-8"
_PIECE: Final = 64 * 1024
_SLOW_PIECES: Final = 10
_MAX_BYTES: Final = 4 * 1024**3


@dataclass(slots=True)
class Response:
    """The response to one request.

    Attributes:
        status: HTTP status.
        body: the whole body.
        content_type: its media type.
        headers: further headers.
        wire: how the response goes out; see `Fault`.
        seconds: for ``slow``: how long the body takes.
        reset: for ``cut``: a TCP reset instead of an orderly end.
        record: the recorded request, which gets the status.
    """

    status: int
    body: bytes = b""
    content_type: str = JSON
    headers: Iterable[tuple[str, str]] = ()
    wire: Wire = "reply"
    seconds: float = 0.0
    reset: bool = False
    record: RecordedRequest | None = field(default=None, repr=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response."""
        if self.wire in ("cut", "hang"):
            await (self._cut(scope, receive) if self.wire == "cut" else _client_gone(receive))
            return
        if self.record is not None:
            self.record.status = self.status
        await send({"type": "http.response.start", "status": self.status, "headers": self._raw_headers()})
        if self.wire == "reply":
            await send({"type": "http.response.body", "body": self.body})
        elif self.wire == "slow":
            await self._send_slowly(send)
        elif self.wire == "truncate":
            await send({"type": "http.response.body", "body": self.body[: len(self.body) // 2], "more_body": True})
            scope["state"]["transport"].close()  # the connection closes after it has sent what was written
            await _client_gone(receive)
        else:
            await self._send_endlessly(receive, send)

    def _raw_headers(self) -> list[tuple[bytes, bytes]]:
        raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in self.headers]
        names = {name for name, _ in raw}
        if b"content-length" not in names and self.wire != "endless":
            raw.append((b"content-length", b"%d" % len(self.body)))
        if b"content-type" not in names and self.content_type:
            raw.append((b"content-type", self.content_type.encode("latin-1")))
        if self.record is not None:
            request_id = self.record.id.encode()
            raw += [(name.encode(), request_id) for name in self.record.id_headers]
        return raw

    async def _cut(self, scope: Scope, receive: Receive) -> None:
        transport: asyncio.Transport = scope["state"]["transport"]
        if self.reset:
            connection = transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
        await _client_gone(receive)

    async def _send_slowly(self, send: Send) -> None:
        step = max(1, -(-len(self.body) // _SLOW_PIECES))
        for start in range(0, max(1, len(self.body)), step):
            await asyncio.sleep(self.seconds / _SLOW_PIECES)
            await send({"type": "http.response.body", "body": self.body[start : start + step], "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _send_endlessly(self, receive: Receive, send: Send) -> None:
        gone = asyncio.ensure_future(_client_gone(receive))
        try:
            piece = self.body[:_PIECE]
            sent = 0
            while not gone.done() and sent < _MAX_BYTES:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                await asyncio.sleep(0)  # lets other requests run, and notices that the client has left
                sent += len(piece)
                piece = bytes(_PIECE)
        finally:
            gone.cancel()


async def _client_gone(receive: Receive) -> None:
    """Wait until the client has left, and throw away what it still sends."""
    message: Any = await receive()
    while message["type"] != "http.disconnect":
        message = await receive()
