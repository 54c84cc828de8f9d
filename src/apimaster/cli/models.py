"""``apimaster models`` and ``apimaster cost``: which models there are, and what pictures cost."""

from __future__ import annotations

import sys
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Final

import typer

from .. import AsyncAPIMaster, ImageRequest, ModelPrice, PriceList
from ..catalog import DEFAULT_MODEL, DEFAULT_RESOLUTION, ModelSpec
from . import options
from .client_runner import Endpoint, run_with_client
from .compared_models import compared
from .exit_codes import OK
from .printing import aligned, dollars, moment, one_line, print_json, print_message, print_result
from .resume import ResumeCommand

_NO_PRICE: Final = {
    "token": "it bills this model by tokens, or has no price of it",
    "unknown": "it words the price of this model in a way that this version can't read",
}
_NO_KEY: Final = "public"  # stands for a key where none is needed; it is not sent


def models(base_url: options.BaseUrl = None, as_json: options.AsJson = False) -> int:
    """List the models that the key may use, and compare them with the catalogue.

    In a terminal it says of each model whether it is offered, ended, or unknown here. In a pipe it prints the offered
    ids, one a line.
    """

    async def work(client: AsyncAPIMaster) -> list[str]:
        return await client.models()

    ids = run_with_client(work, Endpoint(base_url=base_url), resume=ResumeCommand("."))
    if not as_json and not sys.stdout.isatty():
        for each in ids:
            print_result(each)
        return OK
    found = compared(ids, datetime.now().astimezone().date())
    if as_json:
        print_json({"models": ids, "compared": [each.as_json() for each in found]})
        return OK
    for line in aligned([tuple(map(one_line, (each.id, each.state, each.note))) for each in found]):
        print_result(line)
    return OK


def cost(
    aspect_ratio: options.AspectRatio = None,
    resolution: options.Resolution = None,
    count: options.Count = 1,
    model: options.Model = None,
    live: Annotated[
        bool, typer.Option("--live", help="Also read what the gateway's public price list asks now; it needs no key.")
    ] = False,
    base_url: options.BaseUrl = None,
    as_json: options.AsJson = False,
) -> int:
    """Print what pictures cost, and from which list, without buying anything.

    Without --aspect-ratio and --resolution it lists every resolution of the model.
    """
    wanted = model or DEFAULT_MODEL
    first = ImageRequest(prompt="cost", model=wanted)
    spec = first.spec
    if aspect_ratio is None and resolution is None:
        tiers: tuple[str | None, ...] = spec.resolutions
        sizes_known = bool(spec.prices or spec.pixel_table)
    else:
        sizes_known = True
        tiers = (resolution,)
    requests = [
        ImageRequest(prompt="cost", model=wanted, aspect_ratio=aspect_ratio or "1:1", resolution=tier, n=count)
        for tier in tiers
    ]
    prices = _read_prices(first.model, base_url) if live else None
    found = None if prices is None else prices.find(first.model, *spec.ids)
    if as_json:
        costs = [_cost_document(request) for request in requests]
        document: dict[str, object] = {"model": first.model, "price_list": spec.price_list or None, "costs": costs}
        if prices is not None:
            for request, each in zip(requests, costs, strict=True):
                price = None if found is None else found.price(request.resolution)
                each["live_each"] = _text(price)
                each["live_cost"] = _text(None if price is None else price * request.n)
            document["live"] = _live_document(prices, found)
        print_json(document)
        return OK
    if not sizes_known and (found is None or not found.prices):  # nothing would differ from line to line
        line = f"{one_line(first.model)}: {_total(None, count)}"
        if prices is not None:
            flat = None if found is None else found.flat
            line += f"  gateway: {_total(None if flat is None else flat * count, count)}"
        print_result(line)
        requests = []
    for request in requests:
        row = _cost_document(request)
        size = f"{row['width']}×{row['height']}" if row["width"] else "size chosen by the model"
        line = f"{row['resolution']:>4}  {request.aspect_ratio:>5}  {size:>11}  {_total(request.cost, request.n)}"
        if prices is not None:
            price = None if found is None else found.price(request.resolution)
            line += f"  gateway: {_total(None if price is None else price * request.n, request.n)}"
        print_result(line)
    print_message(_source(spec))
    if ended := _ended(first.model):
        print_message(ended)
    if prices is not None:
        print_message(_live_source(prices, found, first.model))
    return OK


def _read_prices(model: str, base_url: str | None) -> PriceList:
    async def work(client: AsyncAPIMaster) -> PriceList:
        return await client.price_list(model=model)

    return run_with_client(work, Endpoint(api_key=_NO_KEY, base_url=base_url), resume=ResumeCommand("."))


def _total(amount: Decimal | None, n: int) -> str:
    return f"{n} images: {dollars(amount)}" if n > 1 else dollars(amount)


def _source(spec: ModelSpec) -> str:
    """Which list the prices of the catalogue are."""
    if not spec.known:
        return f"The catalogue does not hold {one_line(spec.id)}, so its price is unknown."
    if not spec.prices:
        return f"The catalogue holds no price of {one_line(spec.id)}."
    return f"Prices: {one_line(spec.price_list or 'the catalogue')}. The ratio of the account's group may change them."


def _ended(model: str) -> str:
    """That a model, or the id of it that would be sent, ends or has ended, and what follows it; empty if neither."""
    today = datetime.now().astimezone().date()
    found = next((each for each in compared([], today) if each.id == model and each.retired is not None), None)
    return "" if found is None else f"{one_line(model)}: {one_line(found.note)}."


def _live_source(prices: PriceList, found: ModelPrice | None, model: str) -> str:
    """Where the gateway's prices come from, and what they leave out."""
    parts = [f"Gateway: {one_line(prices.url)}, read {moment(prices.read_at)}"]
    if found is None:
        parts.append(f"it lists no price of {one_line(model)}")
    elif found.billing != "image":
        parts.append(_NO_PRICE[found.billing])
    elif found.model != model:
        parts.append(f"listed as {one_line(found.model)}")
    if ratios := prices.group_ratios:
        groups = ", ".join(f"{one_line(name)} × {ratio:f}" for name, ratio in ratios.items())
        parts.append(f"before the ratio of the account's group ({groups})")
    return f"{'; '.join(parts)}."


def _live_document(prices: PriceList, found: ModelPrice | None) -> dict[str, object]:
    return {
        "url": prices.url,
        "read_at": prices.read_at,
        "model": None if found is None else found.model,
        "billing": None if found is None else found.billing,
        "group_ratios": {name: str(ratio) for name, ratio in prices.group_ratios.items()},
    }


def _cost_document(request: ImageRequest) -> dict[str, object]:
    width, height = request.pixels or (None, None)
    return {
        "resolution": request.resolution or DEFAULT_RESOLUTION,
        "aspect_ratio": request.aspect_ratio,
        "width": width,
        "height": height,
        "n": request.n,
        "each": _text(request.spec.price(request.resolution)),
        "cost": _text(request.cost),
    }


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else str(amount)
