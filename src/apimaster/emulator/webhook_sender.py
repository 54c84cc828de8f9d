"""One HTTP request to a receiver: signed, never redirected, never through a proxy, and to this machine only.

The host name is not looked up: ``localhost`` means the loopback addresses, and every other name is refused. So what is
dialled is an address that was checked.

Deliveries come by the thousand, so each connection is a transport of httpx by itself, without a client around it: it
follows no redirect, keeps no cookie and knows no proxy, and spends no time on looking through a pool.
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import httpx

MAX_ANSWER: Final = 64 * 1024
"""Bytes of a receiver's answer that are read."""
CONNECTIONS: Final = 32
"""Deliveries that are under way at once."""

_LOCALHOST: Final = ("127.0.0.1", "::1")
_HEADERS: Final = {"content-type": "application/json", "user-agent": "APIMaster-Webhooks/emulator", "accept": "*/*"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a receiver answered: its HTTP status and body, or why there is no answer."""

    status: int | None
    body: bytes = b""
    error: str | None = None


class WebhookSender:
    """Sends requests on one event loop; connections are kept for later requests."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._tls: dict[str, ssl.SSLContext] = {}
        self._connections: list[httpx.AsyncHTTPTransport] = []
        self._idle: dict[tuple[str, bytes], list[httpx.AsyncHTTPTransport]] = {}

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Send one delivery, and wait for the receiver's answer, at most for the constructor's ``timeout``."""
        host = urlsplit(url).hostname or ""
        addresses = loopback_addresses(host)
        if not addresses:
            return Answer(None, error=f"the emulator can't reach {host}: it talks to this machine only")
        try:
            return await asyncio.wait_for(self._post_to(url, addresses, body, headers), self._timeout)
        except (asyncio.TimeoutError, httpx.TimeoutException):
            return Answer(None, error=f"no answer within {self._timeout:g} s")
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            return Answer(None, error=f"{type(error).__name__}: {error}".rstrip(": "))

    async def _post_to(self, url: str, addresses: tuple[str, ...], body: bytes, headers: Mapping[str, str]) -> Answer:
        for address in addresses[:-1]:
            try:
                return await self._request(url, address, body, headers)
            except httpx.ConnectError:  # noqa: PERF203  # at most two addresses
                continue  # nobody listens at the IPv4 address of localhost
        return await self._request(url, addresses[-1], body, headers)

    async def _request(self, url: str, address: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        given = httpx.URL(url)
        request = httpx.Request(
            "POST",
            given.copy_with(host=address),
            headers={"host": given.netloc.decode("ascii"), **_HEADERS, **headers},
            content=body,
            extensions={"sni_hostname": given.host},
        )
        idle = self._idle.setdefault((request.url.scheme, request.url.netloc), [])
        connection = idle.pop() if idle else self._new_connection(given.scheme)
        try:
            response = await connection.handle_async_request(request)
            try:
                return Answer(response.status_code, await _start_of(response))
            finally:
                await response.aclose()
        finally:
            idle.append(connection)

    def _new_connection(self, scheme: str) -> httpx.AsyncHTTPTransport:
        tls = self._tls.get(scheme)
        if tls is None:
            # loading the certificates takes 40 ms, so a receiver without TLS does not ask for them
            tls = ssl.create_default_context() if scheme == "https" else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            self._tls[scheme] = tls
        connection = httpx.AsyncHTTPTransport(verify=tls, trust_env=False, limits=httpx.Limits(max_connections=1))
        self._connections.append(connection)
        return connection

    async def aclose(self) -> None:
        """Close all connections."""
        connections, self._connections = self._connections, []
        self._idle.clear()
        for connection in connections:
            await connection.aclose()


def loopback_addresses(host: str) -> tuple[str, ...]:
    """The loopback addresses that a host stands for; empty if it is not this machine."""
    if host == "localhost":
        return _LOCALHOST
    try:
        return (host,) if ipaddress.ip_address(host).is_loopback else ()
    except ValueError:
        return ()


async def _start_of(response: httpx.Response) -> bytes:
    received = bytearray()
    async for piece in response.aiter_raw():
        received += piece
        if len(received) >= MAX_ANSWER:
            break
    return bytes(received[:MAX_ANSWER])
