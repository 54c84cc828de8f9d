"""Translate requests, responses and errors between httpx and httpcore. httpx's own table of errors is private."""

from __future__ import annotations

from typing import Final, NoReturn

import httpcore
import httpx

_ERRORS: Final[dict[type, type[httpx.TransportError]]] = {
    getattr(httpcore, name): getattr(httpx, name)
    for name in (
        "ConnectError",
        "ConnectTimeout",
        "LocalProtocolError",
        "NetworkError",
        "PoolTimeout",
        "ProtocolError",
        "ProxyError",
        "ReadError",
        "ReadTimeout",
        "RemoteProtocolError",
        "TimeoutException",
        "UnsupportedProtocol",
        "WriteError",
        "WriteTimeout",
    )
}
CORE_ERRORS: Final[tuple[type[Exception], ...]] = tuple(_ERRORS)


def reraise(error: Exception) -> NoReturn:
    """Raise the httpx error for one of ``CORE_ERRORS``."""
    for kind in type(error).__mro__:
        if kind in _ERRORS:
            raise _ERRORS[kind](str(error)) from error
    raise error


def core_request(request: httpx.Request) -> httpcore.Request:
    """The same request for httpcore.

    Raises:
        httpx.UnsupportedProtocol: neither http nor https.
    """
    url = request.url
    if url.scheme not in ("http", "https"):
        raise httpx.UnsupportedProtocol(f"scheme {url.scheme!r} is not supported; accepted: http, https")
    return httpcore.Request(
        method=request.method,
        url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
        headers=request.headers.raw,
        content=request.stream,
        extensions=request.extensions,
    )


def response(answer: httpcore.Response, stream: httpx.SyncByteStream | httpx.AsyncByteStream) -> httpx.Response:
    """The head of a response of httpcore, with ``stream`` as its body."""
    return httpx.Response(answer.status, headers=answer.headers, stream=stream, extensions=answer.extensions)
