"""Send each request directly or through its proxy, as the environment says."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from typing import Any, Final

import httpx

from .lazy import AsyncLazyTransport
from .proxies import Proxy, ProxyChoice

_NOT_OPENED: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError)


def _named(error: Exception, proxy: Proxy) -> httpx.ProxyError:
    """The same fault, with the variable that may be its cause."""
    return httpx.ProxyError(
        f"{str(error) or 'connecting took too long'} (through {proxy.variable}, which is {proxy.shown!r})"
    )


class Routes(httpx.BaseTransport):
    """Uses ``direct``, or the transport in ``proxied`` that ``choice`` names for the request's URL."""

    def __init__(
        self, choice: ProxyChoice, direct: httpx.BaseTransport, proxied: Mapping[Proxy, httpx.BaseTransport]
    ) -> None:
        self._choice = choice
        self._direct = direct
        self._proxied = proxied

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        proxy = self._choice.proxy_for(request.url)
        if proxy is None:
            return self._direct.handle_request(request)
        try:
            return self._proxied[proxy].handle_request(request)
        except _NOT_OPENED as error:
            raise _named(error, proxy) from error

    def close(self) -> None:
        for each in (self._direct, *self._proxied.values()):
            each.close()


class AsyncRoutes(httpx.AsyncBaseTransport):
    """The same for asyncio, within one event loop."""

    def __init__(
        self, choice: ProxyChoice, direct: AsyncLazyTransport, proxied: Mapping[Proxy, AsyncLazyTransport]
    ) -> None:
        self._choice = choice
        self._direct = direct
        self._proxied = proxied

    # Not "async def", as in the lazy transport.
    def handle_async_request(self, request: httpx.Request) -> Coroutine[Any, Any, httpx.Response]:
        proxy = self._choice.proxy_for(request.url)
        if proxy is None:
            return self._direct.handle_async_request(request)
        return self._through(proxy, request)

    async def _through(self, proxy: Proxy, request: httpx.Request) -> httpx.Response:
        try:
            return await self._proxied[proxy].handle_async_request(request)
        except _NOT_OPENED as error:
            raise _named(error, proxy) from error

    async def aclose(self) -> None:
        for each in (self._direct, *self._proxied.values()):
            await each.aclose()

    def abandon(self) -> None:
        """Close without awaiting, as far as the transports can."""
        for each in (self._direct, *self._proxied.values()):
            each.abandon()
