"""What both drivers share: operations become httpx requests, and httpx's responses and exceptions become replies.

No I/O, no clock: the drivers do that. This module keeps the key where it belongs: it puts the key on requests to the
base URL's origin and on nothing else, and removes it from what the gateway echoes.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import httpx

from .._flows.operations import Body, Broken, Call, Fetch, NotSent, Refused, Reply, Send
from .._transport import AddressGuard, ForbiddenAddress
from ..errors import BadRequestError

if TYPE_CHECKING:
    from ..settings import Settings

MAX_REPLY_BYTES: Final = 128 * 1024 * 1024
"""A reply may carry a picture as base64, which for a 4K PNG is some 30 MB."""

CONNECT_TIMEOUT: Final = 15.0
STALLED: Final = 30.0
"""Seconds without a byte after which a download counts as stalled."""

_SHORTEST_SECRET: Final = 8
_LARGEST_QUOTED: Final = 1024 * 1024

# These headers say who asks, where and with what: the settings decide that, and no caller overrides them.
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
        base = httpx.URL(settings.base_url)
        self._origin = _origin(base)
        self._key = settings.api_key.get_secret_value()
        # A key of a few letters (of a test, of a local gateway) stands in many words, and is no secret.
        self._secret = self._key.encode() if len(self._key) >= _SHORTEST_SECRET else None
        self.guard = AddressGuard(frozenset({base.host}))

    def request(self, client: httpx.Client | httpx.AsyncClient, operation: Send) -> httpx.Request:
        """The request for a call to the gateway, with the key."""
        call = operation.call
        headers = {**operation.headers, "Authorization": f"Bearer {self._key}", "Accept": "application/json"}
        seconds = operation.timeout
        timeout = httpx.Timeout(seconds, connect=min(seconds, CONNECT_TIMEOUT), pool=None)
        url = self.base_url + call.path + _query(call)
        body = call.body
        if body is None or isinstance(body, bytes):
            if body is not None:
                headers["Content-Type"] = "application/json"
            return client.build_request(call.method, url, headers=headers, content=body, timeout=timeout)
        headers["Content-Type"] = "application/json"
        headers["Content-Length"] = str(body.length)
        stream = _AsyncBody(body) if isinstance(client, httpx.AsyncClient) else _SyncBody(body)
        return client.build_request(call.method, url, headers=headers, content=stream, timeout=timeout)

    def download(self, client: httpx.Client | httpx.AsyncClient, operation: Fetch) -> httpx.Request:
        """The request for a picture: with the key only if asked for and at the base URL's own origin."""
        self.guard.check_url(operation.url)
        # A picture doesn't shrink, and its Content-Length should be its own.
        headers = {"Accept": "image/*", "Accept-Encoding": "identity"}
        if operation.keyed and _origin(httpx.URL(operation.url)) == self._origin:
            headers["Authorization"] = f"Bearer {self._key}"
        seconds = operation.timeout
        timeout = httpx.Timeout(min(seconds, STALLED), connect=min(seconds, CONNECT_TIMEOUT), pool=None)
        return client.build_request("GET", operation.url, headers=headers, timeout=timeout)

    def check_address(self, url: str) -> None:
        """Look the host up and refuse a private address: as much as can be done before a client of the caller's dials.

        Blocking. Our own clients check the very address that they dial.
        """
        parts = httpx.URL(url)
        try:
            self.guard.resolve(parts.host, _origin(parts)[2] or 443)
        except OSError as error:
            raise NotSent(f"no address for {parts.host!r}: {error}") from error

    def reply(self, response: httpx.Response, body: bytes) -> Reply:
        """The reply, without the key if the gateway echoed it."""
        # Any reply may be quoted in a message, except one that is so large that it holds pictures.
        if self._secret is not None and len(body) <= _LARGEST_QUOTED and self._secret in body:
            body = body.replace(self._secret, b"[the key]")
        return Reply(response.status_code, headers_of(response), body)


class BodyLimit:
    """Limits the size of one body, and the time that it takes."""

    def __init__(self, limit: int, ends: float) -> None:
        self._left = limit
        self._limit = limit
        self._ends = ends

    def check(self, piece: bytes, now: float) -> bytes:
        """Pass ``piece`` on, unless it is too much or too late."""
        self._left -= len(piece)
        if self._left < 0:
            raise Refused(f"it is larger than {self._limit // (1024 * 1024)} MB")
        if now > self._ends:
            raise Broken("the reply took too long")
        return piece


@contextmanager
def mapped_errors() -> Iterator[None]:
    """Translate httpx's exceptions by the one question that matters: had the request gone out?"""
    try:
        yield
    except ForbiddenAddress as error:
        raise Refused(str(error)) from None
    except _BEFORE_SENDING as error:
        raise NotSent(_words(error)) from error
    except httpx.RequestError as error:  # broken on the way, or a body that its Content-Encoding does not fit
        raise Broken(_words(error)) from error
    except httpx.InvalidURL as error:
        raise Refused(f"not a URL: {error}") from None


def checked(headers: Mapping[str, str]) -> dict[str, str]:
    """The caller's own headers, if they are headers and leave alone what this side sets.

    Raises:
        BadRequestError: a name is taken, or a name or value can't stand in a header.
    """
    for name, value in headers.items():
        if name.strip().lower() in _OWN_HEADERS:
            raise BadRequestError(f"the header {name!r} can't be set: it is set here")
        if not _HEADER_NAME.fullmatch(name) or not value.isprintable() or not value.isascii():
            raise BadRequestError(f"the header {name!r} is not a header: plain ASCII text on one line is accepted")
    return dict(headers)


def headers_of(response: httpx.Response) -> Mapping[str, str]:
    """Header names in lower case."""
    return {name.lower(): value for name, value in response.headers.items()}


def _words(error: Exception) -> str:
    words: dict[type[Exception], str] = {
        httpx.ReadTimeout: "no answer came in time",
        httpx.WriteTimeout: "the request could not be written in time",
        httpx.ConnectTimeout: "connecting took too long",
        httpx.PoolTimeout: "no connection was free in time",
    }
    return words.get(type(error)) or str(error) or type(error).__name__


def _query(call: Call) -> str:
    if not call.query:
        return ""
    return "?" + "&".join(f"{name}={quote(value, safe='')}" for name, value in call.query.items())


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    port = url.port or {"http": 80, "https": 443}.get(url.scheme)
    return url.scheme, url.host, port


class _SyncBody(httpx.SyncByteStream):
    def __init__(self, body: Body) -> None:
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._body)


class _AsyncBody(httpx.AsyncByteStream):
    def __init__(self, body: Body) -> None:
        self._body = body

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._body.__aiter__()
