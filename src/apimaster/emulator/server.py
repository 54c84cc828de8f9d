"""Uvicorn on this machine, in a thread or in the foreground; it starts and stops in milliseconds.

Uvicorn's own main loop checks ten times a second whether to stop, and its shutdown waits for the connections that are
open; a test suite starts hundreds of servers. So this module runs uvicorn's start-up, waits for an event, and then
cuts whatever is open: idle connections that a client keeps for later, and requests that still wait for an answer.

The protocol class is uvicorn's own (on httptools if that is installed, else on h11) with one addition: a request can
reach its connection, so that a fault can cut it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.auto import AutoHTTPProtocol

_BACKLOG: Final = 2048
_KEEP_ALIVE: Final = 75  # seconds, as in nginx; uvicorn's 5 s would close connections during a slow test
_ACCEPT_ROUNDS: Final = 5  # a connection accepted last takes up to three rounds of the loop to become known
_TIMEOUT: Final = 10.0  # seconds that starting and stopping may take


class _Protocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]  # uvicorn chooses it at run time
    app_state: dict[str, Any]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.app_state = {**self.app_state, "transport": transport}
        super().connection_made(transport)


class _Uvicorn(uvicorn.Server):
    """Uvicorn, stopped by an event instead of by signals and a loop that checks for them."""

    async def run_until(self, stop: asyncio.Event, sockets: list[socket.socket], ready: Callable[[], None]) -> None:
        self.config.load()
        self.lifespan = self.config.lifespan_class(self.config)
        await self.startup(sockets=sockets)
        ready()
        while not stop.is_set():
            await self.on_tick(0)  # updates the Date header
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(stop.wait(), 1.0)
        for server in self.servers:
            server.close()
        for _ in range(_ACCEPT_ROUNDS):
            for connection in list(self.server_state.connections):
                connection.transport.abort()
            await asyncio.sleep(0)
        tasks = list(self.server_state.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)


class Server:
    """Serves one ASGI application on the given sockets until ``stop`` is called; then runs ``on_stop`` on its loop."""

    def __init__(
        self, app: ASGIApp, sockets: list[socket.socket], on_stop: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self._app = app
        self._on_stop = on_stop
        self._sockets = sockets
        self._thread: threading.Thread | None = None
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop of the server, while it runs."""
        return self._loop

    def start(self) -> None:
        """Serve in a thread; returns when connections are accepted.

        Raises:
            RuntimeError: the server could not start.
        """
        self._thread = threading.Thread(target=self._run_in_thread, name="apimaster-emulator", daemon=True)
        self._thread.start()
        if not self._started.wait(_TIMEOUT) or self._failure is not None:
            raise RuntimeError("the emulator could not start") from self._failure

    def stop(self) -> None:
        """Stop serving and cut every open connection. Idempotent."""
        thread, self._thread = self._thread, None
        if thread is not None and self._loop is not None and self._stop is not None:
            with contextlib.suppress(RuntimeError):  # the loop may have ended already
                self._loop.call_soon_threadsafe(self._stop.set)
            thread.join(_TIMEOUT)

    def run(self, on_ready: Callable[[], None]) -> None:
        """Serve in this thread until ``KeyboardInterrupt``."""
        with contextlib.suppress(KeyboardInterrupt):
            _run(self._main(on_ready))

    def _run_in_thread(self) -> None:
        try:
            _run(self._main(self._started.set))
        except BaseException as error:  # noqa: BLE001  # start() raises it in its own thread
            self._failure = error
            self._started.set()

    async def _main(self, ready: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        config = uvicorn.Config(
            self._app,
            http=_Protocol,
            ws="none",
            lifespan="off",
            loop="none",
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            backlog=_BACKLOG,
            timeout_keep_alive=_KEEP_ALIVE,
        )
        try:
            await _Uvicorn(config).run_until(self._stop, self._sockets, ready)
        finally:
            for listening in self._sockets:
                listening.close()
            if self._on_stop is not None:
                await self._on_stop()


def listen(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        OSError: the port is taken; ``filename`` names host and port.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio switches Nagle's delay off (40 ms per response) only if the socket names its protocol
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":  # on Windows it would let two servers share a port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        raise OSError(error.errno, error.strerror, f"{host}:{port}") from None
    return listening


def _run(main: Coroutine[Any, Any, None]) -> None:
    try:
        import uvloop  # type: ignore[import-not-found, unused-ignore]  # used if it is installed
    except ImportError:
        asyncio.run(main)
    else:
        uvloop.run(main)
