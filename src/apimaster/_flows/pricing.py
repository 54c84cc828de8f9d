"""Read the gateway's public price list. It needs no key, so none goes along.

Not every gateway has the list of all models, nor one that names each model it offers. For a model that is not in there,
the page about that one model is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from .._wire.pricing import Prices, marketplace_call, pricing_call, read_prices
from ..errors import AuthenticationError, NotFoundError, PermissionDeniedError
from ..pricing import ModelPrice, PriceList
from .account import read_page
from .context import Context
from .operations import Call, Flow, Instant, Now

_MISSING: Final = "This gateway has no public price list"
_ADVICE: Final = "Look at the prices in the console of the gateway, or at what client.charges() says was charged."


def price_list(context: Context, timeout: float, ids: Sequence[str] = ()) -> Flow[PriceList]:
    """The prices of all models, or with ``ids`` (spellings of one model) those of that model. ``timeout``: seconds.

    Raises:
        NotFoundError: the gateway publishes no prices.
        APIMasterError: the gateway could not be asked. The call is free.
    """
    now: Instant = yield Now()
    ends = now.monotonic + timeout
    call = pricing_call()
    missing: NotFoundError | None = None
    models: tuple[ModelPrice, ...] = ()
    ratios: dict[str, Decimal] = {}
    try:
        models, ratios = yield from _read(context, call, timeout)
    except NotFoundError as error:
        missing = error
        if not ids:
            raise
    if ids:
        models = tuple(each for each in models if each.model in ids)
        for spelling in ids if not any(map(_tells_a_price, models)) else ():
            page = marketplace_call(spelling)
            now = yield Now()
            try:
                found, more = yield from _read(context, page, ends - now.monotonic)
            except NotFoundError:
                continue
            missing = None
            found = tuple(each for each in found if each.model in ids)
            if any(map(_tells_a_price, found)):
                call, models, ratios = page, found, ratios or more
                break
    if missing is not None:
        raise missing
    now = yield Now()
    url = context.base_url.removesuffix("/v1") + call.path
    return PriceList(url=url, read_at=now.wall, models=models, group_ratios=ratios)


def _read(context: Context, call: Call, timeout: float) -> Flow[Prices]:
    try:
        return (yield from read_page(context, call, read_prices, timeout, _MISSING, _ADVICE))
    except (AuthenticationError, PermissionDeniedError) as error:  # no key was sent, so it is not the key's fault
        raise NotFoundError(
            f"{_MISSING}: {error.message}",
            advice=_ADVICE,
            status_code=error.status_code,
            code=error.code,
            request_id=error.request_id,
        ) from None


def _tells_a_price(model: ModelPrice) -> bool:
    return bool(model.prices) or model.flat is not None
