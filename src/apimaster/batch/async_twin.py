"""An asyncio client made from a blocking one, for running asyncio on behalf of blocking code."""

from __future__ import annotations

from ..async_client import AsyncAPIMaster
from ..client import APIMaster
from ..errors import BadRequestError


def on_asyncio(client: APIMaster) -> AsyncAPIMaster:
    """An asyncio client with the same settings, to be closed by the caller.

    Raises:
        BadRequestError: ``client`` works through an ``httpx.Client`` of the caller's own.
    """
    if client._driver._given is not None:
        raise BadRequestError(
            "Batch works on asyncio and can't use the http_client of a blocking client: give AsyncBatch an "
            "AsyncAPIMaster with an httpx.AsyncClient"
        )
    twin = AsyncAPIMaster(client._settings.api_key, base_url=client.base_url, model=client.model)
    twin._context = client._context
    twin._timeout = client._timeout
    return twin
