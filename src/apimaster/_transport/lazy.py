"""A transport that is made when the first request needs it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import httpx

from .ssrf import AddressGuard


class LazyTransport(httpx.BaseTransport):
    """The transport that ``make`` returns, made at the first request; ``guard`` looks at each URL before that."""

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
