"""httpx's clients without auth flows, redirects, event hooks and cookies.

The drivers use none of these, and they take an eighth of the time of a whole request. So a request goes straight to the
transport, unless proxies are mounted: then httpx chooses among them. The clients keep no cookies: a session on a shared
client would tie one caller's requests to another's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import httpx

from .lazy import AsyncLazyTransport


class LeanClient(httpx.Client):
    """A blocking client on ``direct``; ``mounts`` and ``options`` are those of httpx."""

    def __init__(
        self, direct: httpx.BaseTransport, mounts: Mapping[str, httpx.BaseTransport | None], **options: Any
    ) -> None:
        super().__init__(transport=direct, mounts=mounts, trust_env=False, **options)
        self._direct = None if mounts else direct

    def send(self, request: httpx.Request, *, stream: bool = False, **options: Any) -> httpx.Response:
        if self._direct is None or self.is_closed:
            return super().send(request, stream=stream, **options)
        response = self._direct.handle_request(request)
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

    def __init__(
        self, direct: AsyncLazyTransport, mounts: Mapping[str, AsyncLazyTransport | None], **options: Any
    ) -> None:
        super().__init__(transport=direct, mounts=mounts, trust_env=False, **options)
        self._direct = None if mounts else direct
        self._transports = [direct, *filter(None, mounts.values())]

    def abandon(self) -> None:
        """Close without awaiting, for an event loop that can't run any more."""
        for each in self._transports:
            each.abandon()

    async def send(self, request: httpx.Request, *, stream: bool = False, **options: Any) -> httpx.Response:
        if self._direct is None or self.is_closed:
            return await super().send(request, stream=stream, **options)
        response = await self._direct.handle_async_request(request)
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
