"""Records each exchange of an HTTP client as it happens, redacted before anything keeps it.

`Recorder` is an ``httpx`` transport in front of the real one, so it sees what the client really sends. A reply is
recorded when its body has been read, an interrupted one when the interrupt comes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import httpx

from ...adapters import proxy_for, shared_ssl_context
from ...emulator.transcript import Exchange
from .redaction import Redactor

_KEPT: Final = 16 * 1024 * 1024
"""Bytes of a body that are looked at: the usage log of 1,000 rows fits, and of a picture the beginning is enough."""


class Recorder(httpx.BaseTransport):
    """Passes requests on and hands each exchange to ``record``.

    Attributes:
        step: the step of the probe that is under way.
    """

    def __init__(self, redactor: Redactor, record: Callable[[Exchange], None]) -> None:
        self.step = ""
        self._redactor = redactor
        self._record = record
        self._begun = time.monotonic()
        self._ways: dict[str | None, httpx.HTTPTransport] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, and record it when its reply has been read or it has failed."""
        sent = time.monotonic()
        step = self.step

        def record(
            status: int | None, headers: dict[str, str] | None = None, body: bytes | None = None, fault: str = ""
        ) -> None:
            route, path = self._redactor.address(request.method, str(request.url))
            self._record(
                Exchange(
                    step=step,
                    route=route,
                    method=request.method,
                    path=path,
                    keyed="authorization" in request.headers,
                    request=self._request_body(request),
                    status=status,
                    headers=self._redactor.headers(headers or {}),
                    body=None if body is None else self._body(body),
                    fault=fault,
                    at=round(sent - self._begun, 3),
                    seconds=round(time.monotonic() - sent, 3),
                )
            )

        try:
            response = self._way_to(str(request.url)).handle_request(request)
        except BaseException as fault:
            record(None, fault=type(fault).__name__)
            raise
        assert isinstance(response.stream, httpx.SyncByteStream)
        headers = dict(response.headers.items())

        def finish(raw: bytes, fault: str) -> None:
            record(response.status_code, headers, _decoded(raw, headers), fault)

        response.stream = _Tee(response.stream, finish)
        return response

    def close(self) -> None:
        """Close the connections."""
        for way in self._ways.values():
            way.close()

    def _way_to(self, url: str) -> httpx.HTTPTransport:
        proxy = proxy_for(url)
        address = None if proxy is None else proxy.url()
        if address not in self._ways:
            verify = shared_ssl_context() if url.startswith("https:") or address is not None else False
            self._ways[address] = httpx.HTTPTransport(verify=verify, proxy=address, trust_env=False)
        return self._ways[address]

    def _body(self, raw: bytes) -> Any:
        try:
            return self._redactor.body(raw)
        except Exception:  # noqa: BLE001  # whatever a reply holds, its reader must get it: it may be paid for
            return "<unreadable>"

    def _request_body(self, request: httpx.Request) -> Any:
        try:
            return self._redactor.value(json.loads(request.content))
        except (httpx.RequestNotRead, ValueError):  # a stream, a picture, or nothing
            return None


class _Tee(httpx.SyncByteStream):
    """A body that is remembered, up to a limit, while it is read."""

    def __init__(self, stream: httpx.SyncByteStream, finish: Callable[[bytes, str], None]) -> None:
        self._stream = stream
        self._finish: Callable[[bytes, str], None] | None = finish
        self._seen = bytearray()
        self._fault = ""

    def __iter__(self) -> Iterator[bytes]:
        try:
            for piece in self._stream:
                self._seen += piece[: max(0, _KEPT - len(self._seen))]
                yield piece
        except BaseException as fault:
            self._fault = type(fault).__name__
            raise

    def close(self) -> None:
        try:
            self._stream.close()
        finally:
            finish, self._finish = self._finish, None
            if finish is not None:
                finish(bytes(self._seen), self._fault)


def _decoded(raw: bytes, headers: dict[str, str]) -> bytes:
    encoding = {"content-encoding": headers["content-encoding"]} if "content-encoding" in headers else {}
    try:
        return httpx.Response(200, headers=encoding, content=raw).content
    except httpx.DecodingError:  # cut short
        return raw
