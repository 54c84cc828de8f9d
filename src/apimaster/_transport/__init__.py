"""Connections to the network. Nothing here knows the gateway.

httpx's own pool goes through all connections and all waiting requests whenever one of them changes, so its cost per
request grows with both: at some hundred concurrent calls, it spends more time on bookkeeping than on HTTP. Here, a
request leases the idle connection that was used last, or opens a new one, and never searches a list.

====================  =====================================================================
module                what it holds
====================  =====================================================================
``clients``           httpx clients made of the parts below; one TLS context
``proxies``           the proxies of the environment, and what is wrong with them
``certificates``      a TLS context with the certificates of the environment
``bad_setting``       the error for what is wrong with them
``routes``            sends each request directly or through its proxy
``lean_client``       httpx's clients without the features that the drivers don't use
``ssrf``              a guard against URLs that lead to private addresses
``lazy``              a transport that is made at its first request
``per_loop``          one value for each event loop, closed when its loop ends
``lease``             the two httpx transports that lease a connection to each request
``httpcore``          httpx's requests, responses and errors to httpcore's and back
``idle_connections``  the list of idle connections
``connect``           opens connections in asyncio: one lookup per name, addresses tried in turn
``stream``            one connection in asyncio
``aiohttp``           the optional extra of that name
====================  =====================================================================

Importing this package imports neither httpcore nor anyio; the first request does.
"""

from .bad_setting import BadSetting
from .certificates import tls_context
from .clients import build_aiohttp_client, build_async_client, build_client, shared_ssl_context
from .lean_client import LeanAsyncClient
from .proxies import Proxy, proxy_for
from .ssrf import AddressGuard, ForbiddenAddress, check_url, resolve_and_check

__all__ = [
    "AddressGuard",
    "BadSetting",
    "ForbiddenAddress",
    "LeanAsyncClient",
    "Proxy",
    "build_aiohttp_client",
    "build_async_client",
    "build_client",
    "check_url",
    "proxy_for",
    "resolve_and_check",
    "shared_ssl_context",
    "tls_context",
]
