"""``apimaster models`` and ``apimaster cost``: which models there are, and what pictures cost."""

from __future__ import annotations

from .. import AsyncAPIMaster, ImageRequest
from ..catalog import DEFAULT_MODEL, RESOLUTIONS, spec_for
from . import options
from .client_runner import Endpoint, run_with_client
from .exit_codes import OK
from .printing import dollars, print_json, print_result
from .resume import ResumeCommand


def models(base_url: options.BaseUrl = None, as_json: options.AsJson = False) -> int:
    """List the models that the key may use.

    One id a line.
    """

    async def work(client: AsyncAPIMaster) -> list[str]:
        return await client.models()

    ids = run_with_client(work, Endpoint(base_url=base_url), resume=ResumeCommand("."))
    if as_json:
        print_json({"models": ids})
    else:
        for each in ids:
            print_result(each)
    return OK


def cost(
    aspect_ratio: options.AspectRatio = None,
    resolution: options.Resolution = None,
    count: options.Count = 1,
    model: options.Model = None,
    as_json: options.AsJson = False,
) -> int:
    """Print what pictures cost, without sending anything.

    Without --aspect-ratio and --resolution it lists every resolution.
    """
    if aspect_ratio is None and resolution is None:
        tiers: tuple[str | None, ...] = RESOLUTIONS
    else:
        tiers = (resolution,)
    requests = [
        ImageRequest(
            prompt="cost", model=model or DEFAULT_MODEL, aspect_ratio=aspect_ratio or "1:1", resolution=tier, n=count
        )
        for tier in tiers
    ]
    if as_json:
        print_json({"model": requests[0].model, "costs": [_cost_document(request) for request in requests]})
        return OK
    for request in requests:
        costs = _cost_document(request)
        size = f"{costs['width']}×{costs['height']}" if costs["width"] else "size chosen by the model"
        total = f"{request.n} images: {dollars(request.cost)}" if request.n > 1 else dollars(request.cost)
        print_result(f"{costs['resolution']:>4}  {request.aspect_ratio:>5}  {size:>11}  {total}")
    return OK


def _cost_document(request: ImageRequest) -> dict[str, object]:
    width, height = request.pixels or (None, None)
    price = spec_for(request.model).price(request.resolution)
    return {
        "resolution": request.resolution or "1K",
        "aspect_ratio": request.aspect_ratio,
        "width": width,
        "height": height,
        "n": request.n,
        "each": None if price is None else str(price),
        "cost": None if request.cost is None else str(request.cost),
    }
