"""A transport that is made when the first request needs it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine
from typing import Any

import httpx

from .ssrf import AddressGuard


class LazyTransport(httpx.BaseTransport):
    """The transport that ``make`` returns, made at the first request. ``guard`` checks the URL of each request."""

    def __init__(self, make: Callable[[], httpx.BaseTransport], guard: AddressGuard | None = None) -> None:
        self._make = make
        self._guard = guard
        self._lock = threading.Lock()
        self._made: httpx.BaseTransport | None = None

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if self._guard is not None:
            self._guard.check_url(request.url)
        made = self._made
        if made is None:
            with self._lock:
                made = self._made = self._made or self._make()
        return made.handle_request(request)

    def close(self) -> None:
        if self._made is not None:
            self._made.close()


class AsyncLazyTransport(httpx.AsyncBaseTransport):
    """The same for asyncio, within one event loop."""

    def __init__(self, make: Callable[[], httpx.AsyncBaseTransport], guard: AddressGuard | None = None) -> None:
        self._make = make
        self._guard = guard
        self._made: httpx.AsyncBaseTransport | None = None

    # Not "async def": this returns the transport's own coroutine, which saves one for each request.
    def handle_async_request(self, request: httpx.Request) -> Coroutine[Any, Any, httpx.Response]:
        if self._guard is not None:
            self._guard.check_url(request.url)
        if self._made is None:
            self._made = self._make()
        return self._made.handle_async_request(request)

    async def aclose(self) -> None:
        if self._made is not None:
            await self._made.aclose()

    def abandon(self) -> None:
        """Close without awaiting, if the transport can: the one that leases connections can, others need their loop."""
        close_now = getattr(self._made, "abandon", None)
        if close_now is not None:
            close_now()
