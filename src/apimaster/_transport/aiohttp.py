"""The optional extra ``aiohttp``: the transport of httpx-aiohttp, with errors that a client can rely on.

httpx-aiohttp reports any lost connection as ``ConnectTimeout``, which means "nothing was sent, send it again". For a
paid request that is a second charge. So this module maps its errors anew, by the aiohttp errors behind them.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from typing import Final, NoReturn

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

# The first match counts, so subclasses come before their bases.
_ERRORS: Final[tuple[tuple[type[BaseException], type[httpx.TransportError]], ...]] = (
    (aiohttp.ConnectionTimeoutError, httpx.ConnectTimeout),
    (aiohttp.SocketTimeoutError, httpx.ReadTimeout),
    (aiohttp.ClientHttpProxyError, httpx.ProxyError),
    (aiohttp.ClientProxyConnectionError, httpx.ProxyError),
    (aiohttp.ClientConnectorError, httpx.ConnectError),
    (aiohttp.ServerDisconnectedError, httpx.RemoteProtocolError),
    (aiohttp.ClientPayloadError, httpx.RemoteProtocolError),
    (aiohttp.ClientResponseError, httpx.RemoteProtocolError),
    (aiohttp.ClientConnectionError, httpx.ReadError),
    (aiohttp.ClientError, httpx.ReadError),
    (TimeoutError, httpx.ReadTimeout),
    (UnicodeError, httpx.ConnectError),  # a name that no resolver takes
)
_CAUGHT: Final = (aiohttp.ClientError, TimeoutError, UnicodeError, httpx.TransportError)


def transport(
    tls: Callable[[], ssl.SSLContext], max_connections: int | None = None, proxy: str | None = None
) -> httpx.AsyncBaseTransport:
    """A transport on top of aiohttp."""
    limits = httpx.Limits(max_connections=max_connections or 0, keepalive_expiry=4.0)  # for aiohttp, 0 is no limit
    return _MappedTransport(
        AiohttpTransport(verify=tls(), limits=limits, proxy=None if proxy is None else httpx.Proxy(proxy))
    )


def _reraise(error: Exception) -> NoReturn:
    if isinstance(error, httpx.UnsupportedProtocol):
        raise error
    cause = error.__cause__ if isinstance(error, httpx.TransportError) else error
    for kind, ours in _ERRORS:
        if isinstance(cause, kind):
            raise ours(str(cause) or type(cause).__name__) from cause
    raise error


class _MappedTransport(httpx.AsyncBaseTransport):
    def __init__(self, inner: AiohttpTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        try:
            response = await self._inner.handle_async_request(request)
        except _CAUGHT as error:
            _reraise(error)
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _MappedContent(response.stream)
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


class _MappedContent(httpx.AsyncByteStream):
    def __init__(self, inner: httpx.AsyncByteStream) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._inner:
                yield piece
        except _CAUGHT as error:
            _reraise(error)

    async def aclose(self) -> None:
        await self._inner.aclose()
