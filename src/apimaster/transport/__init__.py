"""Connections: how requests reach the network. Nothing in here knows the gateway.

httpx's own pool looks at every connection and every waiting request whenever either changes, so its cost per request
grows with both: at some hundred concurrent calls it spends more time on bookkeeping than on HTTP. Here, a request
leases one connection from a last-in-first-out list of idle ones, or opens a new one; nothing is ever searched.

=============  ============================================================================
module         what it holds
=============  ============================================================================
``clients``    httpx clients made of the parts below; one TLS context; proxies of the environment
``lean``       httpx's clients without what the drivers don't use
``guard``      which addresses a URL that somebody else wrote may lead to
``lazily``     a transport that is made when it is needed
``per_loop``   the same for asyncio, for each event loop its own
``leases``     the two httpx transports that lease a connection to each request
``translate``  httpx's requests, responses and errors to httpcore's and back
``idle``       the list of idle connections
``dialling``   opening connections in asyncio: names looked up once, addresses tried in turn
``streams``    one connection in asyncio
``aio``        the optional extra ``aiohttp``
=============  ============================================================================

Importing this package imports neither httpcore nor anyio: that waits until the first request.
"""

from .clients import build_aiohttp_client, build_async_client, build_client, shared_ssl_context
from .guard import ForbiddenAddress, Guard, check_url, resolve_and_check

__all__ = [
    "ForbiddenAddress",
    "Guard",
    "build_aiohttp_client",
    "build_async_client",
    "build_client",
    "check_url",
    "resolve_and_check",
    "shared_ssl_context",
]
