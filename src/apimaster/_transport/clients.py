"""httpx clients for the drivers: leased connections, one TLS context per process, proxies from the environment.

``proxies`` says which proxy a URL needs: a proxied request goes through httpx's proxy transport, a direct one
(``NO_PROXY`` included) through a lease. The expensive parts (TLS context, httpcore, connections) are made at first use,
and so a setting that can't be used fails at the first request that needs it, and never while a client is built.
"""

from __future__ import annotations

import functools
import ssl
import threading
from collections.abc import Callable
from typing import Final

import httpx

from .._version import VERSION
from .certificates import tls_context
from .lazy import AsyncLazyTransport, LazyTransport
from .lean_client import LeanAsyncClient, LeanClient
from .proxies import Proxy, ProxyChoice
from .routes import AsyncRoutes, Routes
from .ssrf import AddressGuard

TIMEOUT: Final = httpx.Timeout(None, connect=15.0)
"""Seconds. Only the connection has a limit here: the drivers set the others for each request."""
# A proxy may drop an idle connection just as a server may: see lease.py for why that matters to a paid request.
LIMITS: Final = httpx.Limits(max_connections=None, max_keepalive_connections=32, keepalive_expiry=4.0)

_tls_lock = threading.Lock()
_tls: ssl.SSLContext | None = None


def shared_ssl_context() -> ssl.SSLContext:
    """The one TLS context of this process, made at the first call: making it takes longer than a request.

    It honours ``SSL_CERT_FILE`` and ``SSL_CERT_DIR``, as httpx does.

    Raises:
        BadSetting: the certificates that they name can't be used.
    """
    global _tls
    if _tls is None:
        with _tls_lock:
            if _tls is None:
                _tls = tls_context()
    return _tls


USER_AGENT: Final = f"apimaster-python/{VERSION}"


def connections_to_spare() -> int | None:
    """Three quarters of the files that this process may open (256 on macOS, 1,024 on Linux); None if unlimited.

    Calls beyond that wait for a connection. Without the limit they would fail, since no socket is left.
    """
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return None
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if files == resource.RLIM_INFINITY else max(files * 3 // 4, 1)


def build_client(*, guard: AddressGuard | None = None, max_connections: int | None = None) -> httpx.Client:
    """A client whose requests lease their connections.

    Args:
        guard: refuses addresses that are not public; through a proxy, it can check only the URL itself.
        max_connections: requests in flight at once; others wait. None: by the number of files that may be open.
    """
    most = max_connections or connections_to_spare()

    def direct() -> httpx.BaseTransport:
        from .lease import LeaseTransport

        return LeaseTransport(shared_ssl_context, guard=guard, max_connections=most)

    def proxied(proxy: Proxy) -> httpx.BaseTransport:
        return httpx.HTTPTransport(proxy=proxy.url(), verify=shared_ssl_context(), limits=LIMITS)

    choice = ProxyChoice.of_environment()
    transport: httpx.BaseTransport = LazyTransport(direct)
    if choice.proxies:
        transports = {
            proxy: LazyTransport(functools.partial(proxied, proxy), guard) for proxy in choice.proxies.values()
        }
        transport = Routes(choice, transport, transports)
    return LeanClient(transport, headers={"user-agent": USER_AGENT}, timeout=TIMEOUT)


def build_async_client(*, guard: AddressGuard | None = None, max_connections: int | None = None) -> LeanAsyncClient:
    """The same for asyncio, within one event loop."""
    most = max_connections or connections_to_spare()

    def direct() -> httpx.AsyncBaseTransport:
        from .lease import AsyncLeaseTransport

        return AsyncLeaseTransport(shared_ssl_context, guard=guard, max_connections=most)

    def proxied(proxy: Proxy) -> httpx.AsyncBaseTransport:
        return httpx.AsyncHTTPTransport(proxy=proxy.url(), verify=shared_ssl_context(), limits=LIMITS)

    return _async_client(direct, proxied, guard)


def build_aiohttp_client(*, max_connections: int | None = None) -> LeanAsyncClient:
    """The same on top of aiohttp, which parses HTTP in C: for very many concurrent calls. It takes no guard.

    Raises:
        ImportError: the extra ``aiohttp`` is not installed.
    """
    try:
        from .aiohttp import transport
    except ImportError as error:
        raise ImportError("this client needs the extra aiohttp: pip install 'apimaster[aiohttp]'") from error
    make = functools.partial(transport, shared_ssl_context, max_connections or connections_to_spare())
    return _async_client(make, lambda proxy: make(proxy.url(socks=False)), None)


def _async_client(
    direct: Callable[[], httpx.AsyncBaseTransport],
    proxied: Callable[[Proxy], httpx.AsyncBaseTransport],
    guard: AddressGuard | None,
) -> LeanAsyncClient:
    choice = ProxyChoice.of_environment()
    to_host = AsyncLazyTransport(direct)
    transport: AsyncLazyTransport | AsyncRoutes = to_host
    if choice.proxies:
        transports = {
            proxy: AsyncLazyTransport(functools.partial(proxied, proxy), guard) for proxy in choice.proxies.values()
        }
        transport = AsyncRoutes(choice, to_host, transports)
    return LeanAsyncClient(transport, headers={"user-agent": USER_AGENT}, timeout=TIMEOUT)
