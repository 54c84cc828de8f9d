"""The receiver's HTTP side, on uvicorn: one path, one request per connection, limits on sizes and on slow clients.

It speaks plain HTTP. TLS is the work of the reverse proxy in front of it.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

MAX_HEAD: Final = 16 * 1024
"""Bytes of a request's first line and headers."""
MAX_CONNECTIONS: Final = 256
SLOWEST: Final = 10.0
"""Seconds for the head of a request, and again for its body."""


class _Protocol(H11Protocol):
    """Uvicorn's own, which also ends a connection whose request does not begin."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.loop.call_later(SLOWEST, self._end_if_silent)

    def _end_if_silent(self) -> None:
        if self.cycle is None:
            self.transport.abort()


class OnePath:
    """Serves ``app`` at one path, and ends requests whose body is slow."""

    def __init__(self, app: App, path: str) -> None:
        self._app = app
        self._path = path

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["path"] != self._path:
            if scope["type"] == "http":
                await _not_found(send)
            return
        ends = asyncio.get_running_loop().time() + SLOWEST

        async def receive_in_time() -> Message:
            left = ends - asyncio.get_running_loop().time()
            try:
                return await asyncio.wait_for(receive(), max(0.001, left))
            except asyncio.TimeoutError:
                return {"type": "http.disconnect"}

        await self._app(scope, receive_in_time, send)


async def _not_found(send: Send) -> None:
    head = {"type": "http.response.start", "status": 404, "headers": [(b"content-type", b"text/plain")]}
    await send(head)
    await send({"type": "http.response.body", "body": b"Not found\n"})


class HttpServer:
    """Serves an application on a socket until SIGINT or SIGTERM, and finishes the requests that are under way."""

    def __init__(self, app: App, path: str) -> None:
        config = uvicorn.Config(
            OnePath(app, path),
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=MAX_CONNECTIONS,
            h11_max_incomplete_event_size=MAX_HEAD,
            headers=[("connection", "close")],
            timeout_keep_alive=5,
        )
        self._server = uvicorn.Server(config)

    @property
    def stopping(self) -> bool:
        """Whether a signal or ``stop`` has ended it."""
        return self._server.should_exit

    def stop(self) -> None:
        """Stop as if by a signal."""
        self._server.should_exit = True

    async def serve(self, listening: socket.socket) -> None:
        """Serve until it is stopped. After a signal, that signal is raised again."""
        await self._server.serve(sockets=[listening])


def bind(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        OSError: the address is not of this machine, or taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=MAX_CONNECTIONS)
