"""One transport for each event loop.

An asyncio connection belongs to the event loop that opened it. Programs call ``asyncio.run`` more than once, and keep
their client meanwhile: so each loop gets a transport of its own, and what a closed loop left behind is cleaned up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import httpx

from .ssrf import AddressGuard


class PerLoop(httpx.AsyncBaseTransport):
    """The transports that ``make`` returns; ``guard`` looks at each URL before a request."""

    def __init__(self, make: Callable[[], httpx.AsyncBaseTransport], guard: AddressGuard | None = None) -> None:
        self._make = make
        self._guard = guard
        self._made: dict[asyncio.AbstractEventLoop, httpx.AsyncBaseTransport] = {}

    # Not "async def": the coroutine of the transport is handed on as it is, which saves one for each request.
    def handle_async_request(self, request: httpx.Request) -> Coroutine[Any, Any, httpx.Response]:
        if self._guard is not None:
            self._guard.check_url(request.url)
        loop = asyncio.get_running_loop()
        made = self._made.get(loop)
        if made is None:
            self._forget_closed_loops()
            made = self._made[loop] = self._make()
        return made.handle_async_request(request)

    async def aclose(self) -> None:
        mine = self._made.pop(asyncio.get_running_loop(), None)
        if mine is not None:
            await mine.aclose()
        self._forget_closed_loops()

    def _forget_closed_loops(self) -> None:
        for loop in [loop for loop in self._made if loop.is_closed()]:
            abandon = getattr(self._made.pop(loop), "abandon", None)  # others can't be closed without their loop
            if abandon is not None:
                abandon()
