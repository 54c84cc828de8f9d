"""httpx's clients without auth flows, redirects, event hooks and cookies.

The drivers use none of these, and they take an eighth of the time of a whole request. So a request goes straight to the
transport. The clients keep no cookies: a session on a shared
client would tie one caller's requests to another's.
"""

from __future__ import annotations

from typing import Any, Final

import httpx

from .lazy import AsyncLazyTransport
from .routes import AsyncRoutes


class LeanClient(httpx.Client):
    """A blocking client on ``transport``; ``options`` are those of httpx."""

    def __init__(self, transport: httpx.BaseTransport, **options: Any) -> None:
        super().__init__(transport=transport, trust_env=False, **options)
        self._only_transport = transport

    def send(self, request: httpx.Request, *, stream: bool = False, **options: Any) -> httpx.Response:
        if self.is_closed:  # httpx says so
            return super().send(request, stream=stream, **options)
        response = self._only_transport.handle_request(request)
        response.request = request
        if not stream:
            try:
                response.read()
            finally:
                response.close()
        return response

    @property
    def cookies(self) -> httpx.Cookies:
        return _NO_COOKIES

    @cookies.setter
    def cookies(self, cookies: object) -> None:
        raise AttributeError(_KEEPS_NONE)


class LeanAsyncClient(httpx.AsyncClient):
    """The same for asyncio."""

    def __init__(self, transport: AsyncLazyTransport | AsyncRoutes, **options: Any) -> None:
        super().__init__(transport=transport, trust_env=False, **options)
        self._only_transport = transport

    def abandon(self) -> None:
        """Close without awaiting, for an event loop that can't run any more."""
        self._only_transport.abandon()

    async def send(self, request: httpx.Request, *, stream: bool = False, **options: Any) -> httpx.Response:
        if self.is_closed:
            return await super().send(request, stream=stream, **options)
        response = await self._only_transport.handle_async_request(request)
        response.request = request
        if not stream:
            try:
                await response.aread()
            finally:
                await response.aclose()
        return response

    @property
    def cookies(self) -> httpx.Cookies:
        return _NO_COOKIES

    @cookies.setter
    def cookies(self, cookies: object) -> None:
        raise AttributeError(_KEEPS_NONE)


class _NoCookies(httpx.Cookies):
    def extract_cookies(self, response: httpx.Response) -> None:
        """Keep none of them."""


_NO_COOKIES: Final = _NoCookies()
_KEEPS_NONE: Final = "this client keeps no cookies"
