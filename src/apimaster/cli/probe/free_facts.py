"""The facts that a free probe checks, one row for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ... import catalog
from ...emulator.recorded import QUOTA_PER_DOLLAR, member, objects
from ...emulator.transcript import Exchange, Transcript
from .fact import NOT_ASKED, Fact, Seen, differs, holds, is_error, not_seen, passing, passing_fault, reply_text, verdict

Check = Callable[[Transcript], Seen]
_REQUEST_IDS: Final = ("x-request-id", "x-oneapi-request-id", "cf-ray")
_FIGURES: Final = ("total_granted", "total_used", "total_available", "unlimited_quota")
_ROW: Final = ("created_at", "type", "model_name", "quota", "use_time", "request_id", "content", "other")


def _with(step: str, look: Callable[[Exchange], Seen], route: str | None = None) -> Check:
    """A check of the last reply of one step; ``route`` leaves out what else the client asked for in that step."""

    def check(transcript: Transcript) -> Seen:
        reply = transcript.last(step, route)
        if reply is None:
            return NOT_ASKED
        return passing_fault(reply) if passing(reply) else look(reply)

    return check


def _refused_with(*statuses: int, code: str = "") -> Callable[[Exchange], Seen]:
    """An error in the gateway's envelope, with one of these statuses, and with ``code`` if it is given."""

    def look(reply: Exchange) -> Seen:
        right = reply.status in statuses and is_error(reply)
        return verdict(right and code in ("", member(reply.body, "error", "code")), reply_text(reply))

    return look


def _list_of_models(reply: Exchange) -> Seen:
    items = objects(member(reply.body, "data"))
    right = (
        reply.status == 200 and member(reply.body, "object") == "list" and isinstance(member(reply.body, "data"), list)
    )
    if not right or any(item.get("object") != "model" or not item.get("id") for item in items):
        return differs(reply_text(reply))
    return holds(f"HTTP 200, a list with {len(items)} models for images")


def offered(transcript: Transcript) -> list[str]:
    """The ids of image models that the gateway lists."""
    reply = transcript.first("models")
    items = [] if reply is None else objects(member(reply.body, "data"))
    return [item["id"] for item in items if isinstance(item.get("id"), str)]


def _spelling(transcript: Transcript) -> Seen:
    ids = offered(transcript)
    if not ids:
        return NOT_ASKED if transcript.first("models") is None else differs("no image model is listed")
    ours = catalog.spellings(catalog.DEFAULT_MODEL)
    found = [each for each in ours if each in ids]
    if not found:
        return differs(f"neither is listed; listed: {', '.join(ids[:6])}")
    unlisted = [each for each in catalog.KNOWN_MODELS if each not in ids and each not in ours]
    return holds(f"{' and '.join(found)}" + (f"; not listed: {', '.join(unlisted)}" if unlisted else ""))


def _every_error_has_the_envelope(transcript: Transcript) -> Seen:
    errors = [each for each in transcript.exchanges if (each.status or 0) >= 400 and each.path.startswith("/v1/")]
    errors = [each for each in errors if not passing(each)]
    if not errors:
        return not_seen("the gateway refused nothing")
    without = [each for each in errors if not is_error(each)]
    if without:
        return differs(f"{without[0].method} {without[0].path}: {reply_text(without[0])}")
    fields = sorted({name for each in errors for name in member(each.body, "error")} - {"message"})
    return holds(f"in all replies of 400 and above; with {', '.join(fields) or 'nothing else'}")


def _request_id(transcript: Transcript) -> Seen:
    replies = [each for each in transcript.exchanges if each.status is not None and each.path.startswith("/v1/")]
    if not replies:
        return NOT_ASKED
    without = [each for each in replies if not any(name in each.headers for name in _REQUEST_IDS)]
    if without:
        return differs(f"none of these in the reply to {without[0].method} {without[0].path}")
    return holds(", ".join(name for name in _REQUEST_IDS if any(name in each.headers for each in replies)))


def _refusals_are_free(transcript: Transcript) -> Seen:
    before, after = (_used(transcript.last(step)) for step in ("account", "account_after_refusals"))
    if before is None or after is None:
        return not_seen("the account's figures could not be read")
    spent = (after - before) / QUOTA_PER_DOLLAR
    return verdict(spent == 0, f"${spent:g} between two looks at the account, if nobody else used the key")


def _used(reply: Exchange | None) -> float | None:
    value = None if reply is None else member(reply.body, "data", "total_used")
    return value if isinstance(value, (int, float)) else None


def _account(reply: Exchange) -> Seen:
    figures = member(reply.body, "data")
    if reply.status != 200 or not isinstance(figures, dict) or member(reply.body, "success") is False:
        return differs(reply_text(reply))
    missing = [name for name in _FIGURES if name not in figures]
    if missing or not isinstance(figures["unlimited_quota"], bool):
        return differs(f"HTTP 200 without {', '.join(missing) or 'a readable unlimited_quota'}")
    return holds(f"HTTP 200; unlimited_quota is {str(figures['unlimited_quota']).lower()}")


def _log(reply: Exchange) -> Seen:
    rows = member(reply.body, "data")
    right = reply.status == 200 and member(reply.body, "success") is True and isinstance(rows, list)
    return verdict(right, "HTTP 200, success true, a list" if right else reply_text(reply))


def _rows(reply: Exchange) -> Seen:
    rows = objects(member(reply.body, "data") or [])
    if reply.status != 200 or not rows:
        return not_seen("the log has no rows")
    missing = sorted({name for name in _ROW for row in rows if name not in row})
    if missing:
        return differs(f"rows without {', '.join(missing)}")
    charges = [row for row in rows if row.get("type") == 2]
    as_text = [row for row in charges if isinstance(row["other"], dict) and "<json text>" in row["other"]]
    if charges and not as_text:
        return differs("the member other of a charge is no text with JSON")
    return holds(f"{', '.join(_ROW)}" + ("; other is a text with JSON" if charges else "; no charge among them"))


def _pricing(reply: Exchange) -> Seen:
    if reply.status != 200 or not isinstance(member(reply.body, "data"), list):
        return differs(reply_text(reply))
    rows = {row.get("model_name"): row for row in objects(member(reply.body, "data"))}
    prices = [
        f"{name}: {field} {rows[name][field]}"
        for name in catalog.spellings(catalog.DEFAULT_MODEL)
        for field in ("model_price", "model_ratio")
        if name in rows and rows[name].get(field)
    ]
    return holds(f"HTTP 200 without a key, a list; {', '.join(prices) or 'without a price of Nano Banana 2'}")


def _marketplace(reply: Exchange) -> Seen:
    return verdict(reply.status == 200 and isinstance(reply.body, dict), reply_text(reply))


def _capabilities(reply: Exchange) -> Seen:
    supported, events = member(reply.body, "supported"), member(reply.body, "events")
    if reply.status != 200 or not isinstance(supported, bool) or not isinstance(events, list):
        return differs(reply_text(reply))
    version = member(reply.body, "api_version")
    told = f"supported {str(supported).lower()}, events {', '.join(map(str, events)) or 'none'}, version {version}"
    return verdict(isinstance(version, str), told)


FREE_FACTS: Final = (
    Fact("models_list", "Requests", "`GET /models` answers with a list of models", _with("models", _list_of_models)),
    Fact("model_id", "Requests", "Nano Banana 2 is listed, under an id of the catalogue", _spelling),
    Fact("error_envelope", "Errors", 'Errors are JSON: {"error": {"message": …}}', _every_error_has_the_envelope),
    Fact("request_id", "Errors", f"Replies have a request id: {', '.join(_REQUEST_IDS)}", _request_id),
    Fact("wrong_key", "Errors", "A wrong key: 401", _with("wrong_key", _refused_with(401))),
    Fact("unknown_task", "Errors", "An unknown task: 404", _with("no_such_task", _refused_with(404), "poll")),
    Fact(
        "unknown_model",
        "Errors",
        "A model that is not offered: 404 or 503 with the code model_not_found",
        _with("no_such_model", _refused_with(404, 503, code="model_not_found"), "submit"),
    ),
    Fact("bad_parameter", "Errors", "A bad parameter: 400", _with("bad_parameter", _refused_with(400))),
    Fact("chat", "Errors", "An image model on the chat route: 400", _with("chat", _refused_with(400))),
    Fact("unknown_route", "Errors", "An unknown route: 404", _with("no_such_route", _refused_with(404))),
    Fact("refusals_are_free", "Errors", "A refused purchase is not charged", _refusals_are_free),
    Fact(
        "account",
        "The account's own books",
        "`GET /api/usage/token` tells what the key may spend",
        _with("account", _account),
    ),
    Fact("log", "The account's own books", "`GET /api/log/token` gives the usage log", _with("log", _log)),
    Fact("log_rows", "The account's own books", "A row of the log has the fields that we read", _with("log", _rows)),
    Fact(
        "price_list",
        "The public price list",
        "`GET /api/pricing` lists prices, without a key",
        _with("pricing", _pricing),
    ),
    Fact(
        "marketplace",
        "The public price list",
        "`GET /api/public/marketplace?model=` answers, without a key",
        _with("marketplace", _marketplace),
    ),
    Fact(
        "webhook_capabilities",
        "Webhooks",
        "`GET /webhook-capabilities?model=` says whether the model has webhooks",
        _with("capabilities", _capabilities),
    ),
)
