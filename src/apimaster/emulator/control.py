"""The emulator's own routes: the status page, and what a test in another process needs.

They need no key. Those that change something take JSON only: a page on the web, open in a browser on this
machine, can't send that here without asking first, and the emulator never agrees.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from starlette.requests import Request
from starlette.routing import Route

from .answers import Answer
from .checks import Refusal, parse_body
from .dialects import Dialect
from .fault_rates import parse_faults
from .faults import FAULTS
from .gateway import Gateway
from .options import parse_latency
from .render import Drawing
from .replies import dump
from .scripting import make_rules
from .status_page import POLICY, status_page

_THUMB_SIDE: Final = 144
_HTML: Final = "text/html; charset=utf-8"


def control_routes(gateway: Gateway) -> list[Route]:
    """``/`` and ``/_emulator/…``."""

    async def page(request: Request) -> Answer:
        gateway.jobs.settle_all()
        return Answer(200, status_page(gateway).encode(), _HTML, (("content-security-policy", POLICY), *_NO_STORE))

    async def thumbnail(request: Request) -> Answer:
        picture = gateway.gallery.find(request.path_params["token"])
        if picture is None:
            return Answer(404, b"", "")
        drawing = gateway.gallery.drawing(picture)
        scale = _THUMB_SIDE / max(drawing.width, drawing.height)
        small = Drawing(
            drawing.seed, "", "", max(1, round(drawing.width * scale)), max(1, round(drawing.height * scale))
        )
        data = await gateway.gallery.draw(small, "jpeg", "scene")
        return Answer(200, data, "image/jpeg", (("cache-control", "max-age=3600"),))

    async def bill(request: Request) -> Answer:
        gateway.jobs.settle_all()
        return Answer(200, dump(gateway.bill.as_json(_last(request))), headers=_NO_STORE)

    async def requests(request: Request) -> Answer:
        kept = [record.as_json() for record in gateway.records.all()[-_last(request) :]]
        return Answer(200, dump({"count": gateway.records.count, "requests": kept}), headers=_NO_STORE)

    async def tasks(request: Request) -> Answer:
        now = gateway.clock.now()
        return Answer(200, dump({"tasks": [job.as_json(now) for job in gateway.jobs.all()[-_last(request) :]]}))

    async def faults(request: Request) -> Answer:
        return Answer(200, dump({"faults": {name: fault.place for name, fault in FAULTS.items()}}))

    routes: list[Route] = [
        Route("/", page),
        Route("/_emulator/thumbs/{token}", thumbnail),
        Route("/_emulator/bill", bill),
        Route("/_emulator/requests", requests),
        Route("/_emulator/tasks", tasks),
        Route("/_emulator/faults", faults),
    ]
    for name, change in _CHANGES.items():
        routes.append(Route(f"/_emulator/{name}", _changing(gateway, change), methods=["POST"]))
    return routes


def _script(gateway: Gateway, wanted: Mapping[str, Any]) -> None:
    known = {"faults", "chances", "dialect", "latency", "clear"}
    if unknown := set(wanted) - known:
        raise ValueError(f"{min(unknown)!r} is not known; accepted: {', '.join(sorted(known))}")
    rules = make_rules(tuple(wanted.get("faults", ())))
    chances = parse_faults(wanted["chances"]) if "chances" in wanted else None
    dialect = Dialect.parse(wanted["dialect"]) if "dialect" in wanted else gateway.dialect
    latency = parse_latency(wanted["latency"]) if "latency" in wanted else gateway.latency
    # nothing has changed yet: a script with a mistake in it leaves everything as it was
    if wanted.get("clear"):
        gateway.script.clear()
    if chances is not None:
        gateway.script.set_chances(chances)
    gateway.dialect, gateway.latency = dialect, latency
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
    async def route(request: Request) -> Answer:
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return Answer(415, dump({"error": {"message": "send application/json"}}))
        try:
            change(gateway, parse_body(await request.body() or b"{}"))
        except Refusal as refusal:
            return Answer(400, dump({"error": {"message": refusal.message}}))
        except KeyError as error:
            return Answer(400, dump({"error": {"message": f"{error} is missing, or there is no such task"}}))
        except (ValueError, TypeError) as error:
            return Answer(400, dump({"error": {"message": str(error)}}))
        return Answer(200, dump({"ok": True}))

    return route


def _last(request: Request) -> int:
    text = request.query_params.get("last", "1000")
    return max(1, int(text)) if text.isdecimal() else 1000
