"""The codec of both drivers: from operations to httpx requests, from httpx's responses and exceptions to replies.

No I/O, no clock: the drivers do that. This module puts the key on requests to the base URL's origin and on no others,
and removes it from replies that echo it.
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import httpx

from .._flows.operations import Body, Broken, Call, Fetch, NotSent, Refused, Reply, Send
from .._transport import AddressGuard, BadSetting, ForbiddenAddress
from ..errors import APIMasterError, BadRequestError
from ..settings import DEFAULT_BASE_URL
from .departure import Departure

if TYPE_CHECKING:
    from ..settings import Settings

MAX_REPLY_BYTES: Final = 128 * 1024 * 1024
"""A reply may carry a picture as base64, which for a 4K PNG is some 30 MB."""

CONNECT_TIMEOUT: Final = 15.0
STALLED: Final = 30.0
"""Seconds without a byte after which a download counts as stalled."""

_SHORTEST_SECRET: Final = 8
_LARGEST_QUOTED: Final = 1024 * 1024

# The client sets these headers from its settings, and no caller overrides them.
_OWN_HEADERS: Final = frozenset(
    {
        *("accept", "authorization", "connection", "content-length", "content-type", "host"),
        *("proxy-authorization", "transfer-encoding"),
    }
)
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

_BEFORE_SENDING: Final = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.LocalProtocolError,
)


class HttpxCodec:
    """Builds requests and reads replies; knows the base URL and the key."""

    def __init__(self, settings: Settings) -> None:
        self.base_url = settings.base_url
        try:
            base = httpx.URL(settings.base_url)
            self._origin = _origin(base)
        except (httpx.InvalidURL, ValueError) as error:  # httpx takes fewer hosts than urllib
            raise BadRequestError(
                f"The base URL from {settings.base_url_source} is not a URL: {error}. "
                f"Accepted: an http or https URL such as {DEFAULT_BASE_URL}."
            ) from None
        self._key = settings.api_key.get_secret_value()
        # A key of a few letters, as for a local gateway, is part of many words, and is no secret.
        self._secret = self._key.encode() if len(self._key) >= _SHORTEST_SECRET else None
        self.guard = AddressGuard(frozenset({base.host}))

    def request(self, client: httpx.Client | httpx.AsyncClient, operation: Send) -> httpx.Request:
        """The request for a call to the gateway, with the key unless the call is public."""
        call = operation.call
        headers = {**operation.headers, "Accept": "application/json"}
        if not call.public:
            headers["Authorization"] = f"Bearer {self._key}"
        seconds = operation.timeout
        timeout = httpx.Timeout(seconds, connect=min(seconds, CONNECT_TIMEOUT), pool=None)
        base = self.base_url.removesuffix("/v1") if call.beside_v1 else self.base_url
        url = base + call.path + _query(call)
        body = call.body
        if body is None or isinstance(body, bytes):
            if body is not None:
                headers["Content-Type"] = call.content_type
            return client.build_request(call.method, url, headers=headers, content=body, timeout=timeout)
        headers["Content-Type"] = call.content_type
        headers["Content-Length"] = str(body.length)
        ends = time.monotonic() + seconds  # httpx limits each write, and a slow upload has many
        stream = _AsyncBody(body, ends) if isinstance(client, httpx.AsyncClient) else _SyncBody(body, ends)
        return client.build_request(call.method, url, headers=headers, content=stream, timeout=timeout)

    def download(self, client: httpx.Client | httpx.AsyncClient, operation: Fetch) -> httpx.Request:
        """The request for a picture. It has the key only if ``keyed`` asks for it and the origin is the base URL's."""
        self.guard.check_url(operation.url)
        # Pictures don't compress any further, and Content-Length should be the picture's.
        headers = {"Accept": "image/*", "Accept-Encoding": "identity"}
        if operation.keyed and _origin(httpx.URL(operation.url)) == self._origin:
            headers["Authorization"] = f"Bearer {self._key}"
        seconds = operation.timeout
        timeout = httpx.Timeout(min(seconds, STALLED), connect=min(seconds, CONNECT_TIMEOUT), pool=None)
        return client.build_request("GET", operation.url, headers=headers, timeout=timeout)

    def check_address(self, url: str) -> None:
        """Look the host up and refuse a private address. Blocking.

        Before a request of the caller's own client, nothing more is possible; ours check the very address that they
        connect to.
        """
        parts = httpx.URL(url)
        try:
            self.guard.resolve(parts.host, _origin(parts)[2] or 443)
        except OSError as error:
            raise NotSent(f"no address for {parts.host!r}: {error}") from error

    def reply(self, response: httpx.Response, body: bytes) -> Reply:
        """The reply, without the key if the gateway echoed it."""
        # A message may quote any reply, except one so large that it holds pictures.
        if self._secret is not None and len(body) <= _LARGEST_QUOTED and self._secret in body:
            body = body.replace(self._secret, b"[the key]")
        return Reply(response.status_code, headers_of(response), body)


def reply_limit(operation: Send, most: int) -> int:
    """Bytes that the reply to a call may have; ``most`` is the limit of every reply."""
    return most if operation.call.max_bytes is None else min(most, operation.call.max_bytes)


class BodyLimit:
    """Limits the size of one body, and the time that it may take."""

    def __init__(self, limit: int, ends: float) -> None:
        self._left = limit
        self._limit = limit
        self._ends = ends

    def check(self, piece: bytes, now: float) -> bytes:
        """Return ``piece``, unless the body is now too large or too late."""
        self._left -= len(piece)
        if self._left < 0:
            raise Refused(f"it is larger than {self._limit // (1024 * 1024)} MB")
        if now > self._ends:
            raise Broken("the reply took too long")
        return piece


@contextmanager
def mapped_errors(departure: Departure) -> Iterator[None]:
    """Translate whatever fails until a response begins by the one question that matters: had the request gone out?

    The connection answers it (``departure``). Only a client of the caller's own may not: then the type of the error has
    to, and one that says nothing counts as sent.
    """
    try:
        yield
    except (APIMasterError, NotSent, Broken, Refused):  # a reference that can't be read, or an answer of this kind
        raise
    except ForbiddenAddress as error:
        raise Refused(str(error)) from None
    except BadSetting as error:
        raise NotSent(str(error), advice=error.advice) from error
    except Exception as error:
        if departure.certainly_stayed() or (not departure.left and isinstance(error, _BEFORE_SENDING)):
            raise NotSent(_describe(error)) from error
        raise Broken(_describe(error)) from error


@contextmanager
def broken_replies() -> Iterator[None]:
    """Translate what fails while a response is read: the connection, or an encoding that does not match the body.

    Other errors are those of the sink that a download writes into, and reach the flow as they are.
    """
    try:
        yield
    except httpx.RequestError as error:
        raise Broken(_describe(error)) from error


def checked(headers: Mapping[str, str]) -> dict[str, str]:
    """The caller's own headers, if they are valid and the client does not set them itself.

    Raises:
        BadRequestError: the client sets this header itself, or its name or value is not valid.
    """
    for name, value in headers.items():
        if name.strip().lower() in _OWN_HEADERS:
            raise BadRequestError(f"the header {name!r} can't be set: the client sets it")
        if not _HEADER_NAME.fullmatch(name) or not value.isprintable() or not value.isascii():
            raise BadRequestError(f"the header {name!r} is not a header; accepted: plain ASCII text on one line")
    return dict(headers)


def headers_of(response: httpx.Response) -> Mapping[str, str]:
    """Header names in lower case."""
    return {name.lower(): value for name, value in response.headers.items()}


def _describe(error: Exception) -> str:
    texts: dict[type[Exception], str] = {
        httpx.ReadTimeout: "no reply came in time",
        httpx.WriteTimeout: "the request could not be written in time",
        httpx.ConnectTimeout: "connecting took too long",
        httpx.PoolTimeout: "no connection was free in time",
    }
    return texts.get(type(error)) or str(error) or type(error).__name__


def _query(call: Call) -> str:
    if not call.query:
        return ""
    return "?" + "&".join(f"{name}={quote(value, safe='')}" for name, value in call.query.items())


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    port = url.port or {"http": 80, "https": 443}.get(url.scheme)
    return url.scheme, url.host, port


class _SyncBody(httpx.SyncByteStream):
    def __init__(self, body: Body, ends: float) -> None:
        self._body = body
        self._ends = ends

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._body:
            _check_time(self._ends)
            yield piece


class _AsyncBody(httpx.AsyncByteStream):
    def __init__(self, body: Body, ends: float) -> None:
        self._body = body
        self._ends = ends

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._body:
            _check_time(self._ends)
            yield piece


def _check_time(ends: float) -> None:
    if time.monotonic() > ends:
        raise httpx.WriteTimeout("the upload took too long")
