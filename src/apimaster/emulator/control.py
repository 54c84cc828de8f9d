"""The emulator's own routes: the status page, and the routes by which a test in another process controls the emulator.

They need no key. Those that change something take JSON only: a browser sends JSON across origins only after it has
asked the server, and the emulator never agrees. So a web page that happens to be open can't control it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from starlette.requests import Request
from starlette.routing import Route

from .channels import Channel
from .dialects import Dialect
from .fault_rates import parse_fault_rates
from .fault_script import make_rules
from .faults import FAULTS, HTML
from .gateway import Gateway
from .latency import parse_latency
from .picture import Drawing
from .response_bodies import dump
from .responses import Response
from .status_page import POLICY, status_page
from .validation import Refusal, parse_body

_THUMBNAIL_SIDE: Final = 144


def control_routes(gateway: Gateway) -> list[Route]:
    """``/`` and ``/_emulator/…``."""

    async def page(request: Request) -> Response:
        gateway.jobs.book_due_refunds()
        return Response(200, status_page(gateway).encode(), HTML, (("content-security-policy", POLICY), *_NO_STORE))

    async def thumbnail(request: Request) -> Response:
        picture = gateway.pictures.find(request.path_params["token"])
        if picture is None:
            return Response(404, b"", "")
        drawing = gateway.pictures.drawing_of(picture)
        scale = _THUMBNAIL_SIDE / max(drawing.width, drawing.height)
        small = Drawing(
            drawing.seed, "", "", max(1, round(drawing.width * scale)), max(1, round(drawing.height * scale))
        )
        data = await gateway.pictures.draw(small, "jpeg", "background")
        return Response(200, data, "image/jpeg", (("cache-control", "max-age=3600"),))

    async def bill(request: Request) -> Response:
        gateway.jobs.book_due_refunds()
        return Response(200, dump(gateway.bill.as_json(_last(request))), headers=_NO_STORE)

    async def requests(request: Request) -> Response:
        kept = [record.as_json() for record in gateway.request_log.all()[-_last(request) :]]
        return Response(200, dump({"count": gateway.request_log.count, "requests": kept}), headers=_NO_STORE)

    async def tasks(request: Request) -> Response:
        now = gateway.clock.now()
        return Response(200, dump({"tasks": [job.as_json(now) for job in gateway.jobs.all()[-_last(request) :]]}))

    async def faults(request: Request) -> Response:
        return Response(200, dump({"faults": {name: fault.place for name, fault in FAULTS.items()}}))

    async def webhooks(request: Request) -> Response:
        hooks, last = gateway.webhooks, _last(request)
        document = {
            "endpoints": [endpoint.as_json() for endpoint in hooks.endpoints.all()],
            "events": [event.as_json() for event in hooks.events.all()[-last:]],
            "deliveries": [delivery.as_json() for delivery in hooks.events.deliveries()[-last:]],
        }
        return Response(200, dump(document), headers=_NO_STORE)

    routes: list[Route] = [
        Route("/", page),
        Route("/_emulator/thumbs/{token}", thumbnail),
        Route("/_emulator/bill", bill),
        Route("/_emulator/requests", requests),
        Route("/_emulator/tasks", tasks),
        Route("/_emulator/faults", faults),
        Route("/_emulator/webhooks", webhooks),
    ]
    for name, change in _CHANGES.items():
        routes.append(Route(f"/_emulator/{name}", _changing(gateway, change), methods=["POST"]))
    return routes


def _script(gateway: Gateway, wanted: Mapping[str, Any]) -> None:
    known = {"faults", "fault_rates", "dialect", "latency", "channel", "clear"}
    if unknown := set(wanted) - known - {"chances"}:
        raise ValueError(f"{min(unknown)!r} is not known; accepted: {', '.join(sorted(known))}")
    rules = make_rules(tuple(wanted.get("faults", ())))
    given_rates = [wanted[name] for name in ("chances", "fault_rates") if name in wanted]  # chances is the old name
    rates = parse_fault_rates(given_rates[-1]) if given_rates else None
    dialect = Dialect.parse(wanted["dialect"]) if "dialect" in wanted else gateway.dialect
    latency = parse_latency(wanted["latency"]) if "latency" in wanted else gateway.latency
    channel = Channel.parse(wanted["channel"]) if "channel" in wanted else gateway.channel
    # Nothing has changed so far, so a script with a mistake leaves everything as it was.
    if wanted.get("clear"):
        gateway.script.clear()
    if rates is not None:
        gateway.script.set_rates(rates)
    gateway.dialect, gateway.latency, gateway.channel = dialect, latency, channel
    gateway.script.add(rules)


def _advance(gateway: Gateway, wanted: Mapping[str, Any]) -> None:
    gateway.advance(float(wanted["seconds"]))


def _finish(gateway: Gateway, wanted: Mapping[str, Any]) -> None:
    gateway.finish(wanted.get("task"))


def _fail(gateway: Gateway, wanted: Mapping[str, Any]) -> None:
    gateway.fail(wanted.get("task"), wanted.get("reason"))


def _reset(gateway: Gateway, wanted: Mapping[str, Any]) -> None:
    gateway.reset()


_NO_STORE: Final = (("cache-control", "no-store"),)
_CHANGES: Final[Mapping[str, Callable[[Gateway, Mapping[str, Any]], None]]] = {
    "script": _script,
    "advance": _advance,
    "finish": _finish,
    "fail": _fail,
    "reset": _reset,
}


def _changing(gateway: Gateway, change: Callable[[Gateway, Mapping[str, Any]], None]) -> Callable[[Request], Any]:
    async def route(request: Request) -> Response:
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return Response(415, dump({"error": {"message": "send application/json"}}))
        try:
            change(gateway, parse_body(await request.body() or b"{}"))
        except Refusal as refusal:
            return Response(400, dump({"error": {"message": refusal.message}}))
        except KeyError as error:
            return Response(400, dump({"error": {"message": f"{error} is missing, or there is no such task"}}))
        except (ValueError, TypeError) as error:
            return Response(400, dump({"error": {"message": str(error)}}))
        return Response(200, dump({"ok": True}))

    return route


def _last(request: Request) -> int:
    text = request.query_params.get("last", "1000")
    return max(1, int(text)) if text.isdecimal() else 1000
