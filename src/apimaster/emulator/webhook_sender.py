"""One HTTP request to a receiver: signed, never redirected, never through a proxy, and to this machine only.

The host name is not looked up: ``localhost`` means the loopback addresses, and every other name is refused. So what is
dialled is an address that was checked.
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
_USER_AGENT: Final = "APIMaster-Webhooks/emulator"


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
        self._clients: dict[str, httpx.AsyncClient] = {}

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Send one delivery, and wait for the receiver's answer, at most for the constructor's ``timeout``."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        addresses = loopback_addresses(host)
        if not addresses:
            return Answer(None, error=f"the emulator can't reach {host}: it talks to this machine only")
        try:
            return await asyncio.wait_for(self._post_to(url, addresses, body, headers), self._timeout)
        except (asyncio.TimeoutError, httpx.TimeoutException):
            return Answer(None, error=f"no answer within {self._timeout:g} s")
        except (httpx.HTTPError, OSError, ssl.SSLError, ValueError) as error:
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
        request_headers = {
            "host": given.netloc.decode("ascii"),
            "content-type": "application/json",
            "user-agent": _USER_AGENT,
            **headers,
        }
        async with self._client(given.scheme).stream(
            "POST",
            given.copy_with(host=address),
            content=body,
            headers=request_headers,
            extensions={"sni_hostname": given.host},
        ) as response:
            received = bytearray()
            async for piece in response.aiter_raw():
                received += piece
                if len(received) >= MAX_ANSWER:
                    break
            return Answer(response.status_code, bytes(received[:MAX_ANSWER]))

    def _client(self, scheme: str) -> httpx.AsyncClient:
        client = self._clients.get(scheme)
        if client is None:
            # making the TLS settings takes 40 ms, so a receiver without TLS does not ask for them
            tls = ssl.create_default_context() if scheme == "https" else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            client = self._clients[scheme] = httpx.AsyncClient(
                verify=tls,
                trust_env=False,  # a proxy would carry the delivery to another machine
                follow_redirects=False,
                timeout=self._timeout,
                limits=httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS),
            )
        return client

    async def aclose(self) -> None:
        """Close all connections."""
        clients, self._clients = self._clients, {}
        for client in clients.values():
            await client.aclose()


def loopback_addresses(host: str) -> tuple[str, ...]:
    """The loopback addresses that a host stands for; empty if it is not this machine."""
    if host == "localhost":
        return _LOCALHOST
    try:
        return (host,) if ipaddress.ip_address(host).is_loopback else ()
    except ValueError:
        return ()
