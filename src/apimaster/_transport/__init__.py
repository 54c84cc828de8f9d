"""Connections: how requests reach the network. Nothing in here knows the gateway.

httpx's own pool looks at every connection and every waiting request whenever either changes, so its cost per request
grows with both: at some hundred concurrent calls it spends more time on bookkeeping than on HTTP. Here, a request
leases one connection from a last-in-first-out list of idle ones, or opens a new one; nothing is ever searched.

====================  =====================================================================
module                what it holds
====================  =====================================================================
``clients``           httpx clients made of the parts below; one TLS context; proxies of the environment
``lean_client``       httpx's clients without what the drivers don't use
``ssrf``              which addresses a URL that somebody else wrote may lead to
``lazy``              a transport that is made when it is needed
``per_loop``          one value for each event loop, closed when its loop ends
``lease``             the two httpx transports that lease a connection to each request
``httpcore``          httpx's requests, responses and errors to httpcore's and back
``idle_connections``  the list of idle connections
``connect``           opening connections in asyncio: names looked up once, addresses tried in turn
``stream``            one connection in asyncio
``aiohttp``           the optional extra of that name
====================  =====================================================================

Importing this package imports neither httpcore nor anyio: that waits until the first request.
"""

from .clients import build_aiohttp_client, build_async_client, build_client, shared_ssl_context
from .lean_client import LeanAsyncClient
from .ssrf import AddressGuard, ForbiddenAddress, check_url, resolve_and_check

__all__ = [
    "AddressGuard",
    "ForbiddenAddress",
    "LeanAsyncClient",
    "build_aiohttp_client",
    "build_async_client",
    "build_client",
    "check_url",
    "resolve_and_check",
    "shared_ssl_context",
]
