"""What the exchanges of a transcript say: polls, tasks, pictures and charges. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from .transcript import Exchange, Transcript

QUOTA_PER_DOLLAR: Final = 500_000
PURCHASES: Final = {"submit": "submit", "one_shot": "sync", "edit": "submit"}
"""The steps of a probe that buy a picture, and their routes."""
FINISHED: Final = frozenset({"completed", "succeeded", "success"})
"""The status words of a task that has succeeded, in lower case."""


def polls_of(transcript: Transcript) -> list[Exchange]:
    """The polls of every purchase of a probe."""
    return [each for step in PURCHASES for each in transcript.all(step, "poll")]


def task_in(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The task in the reply to a poll: in the envelope, or the reply itself."""
    inner = body.get("data", body)
    return next(iter(objects(inner)), {})


def task_seconds(transcript: Transcript) -> float | None:
    """Seconds from the submit of a task to the poll that saw its end; None if no task was seen to end."""
    for step in ("submit", "edit"):
        submitted, last = transcript.last(step, "submit"), transcript.last(step, "poll")
        if submitted is None or last is None or not isinstance(last.body, dict):
            continue
        if str(task_in(last.body).get("status")).lower() in FINISHED:
            return round(max(0.0, last.at - submitted.at - submitted.seconds), 3)
    return None


def charged(transcript: Transcript) -> dict[str, Decimal]:
    """US dollars that the log says were charged, by the step that bought the picture."""
    found: dict[str, Decimal] = {}
    for each in transcript.exchanges:
        if each.route != "log" or each.status != 200:
            continue
        for row in objects(member(each.body, "data")):
            quota, step = row.get("quota"), row.get("<own>")
            is_number = isinstance(quota, (int, float)) and not isinstance(quota, bool)
            if row.get("type") == 2 and isinstance(step, str) and is_number:
                found[step] = Decimal(str(quota)) / QUOTA_PER_DOLLAR
    return found


def downloads_of(transcript: Transcript) -> list[Exchange]:
    """The downloads of the pictures that a probe bought, by URL or from the durable route."""
    return [each for step in PURCHASES for route in ("download", "output") for each in transcript.all(step, route)]


def media_type(exchange: Exchange) -> str:
    """The media type of the picture that a reply held; empty if it held none."""
    return str(member(exchange.body, "<picture>", "media_type") or "")


def pixels(exchange: Exchange) -> tuple[int, int] | None:
    """Width and height of the picture that a reply held."""
    facts = member(exchange.body, "<picture>")
    width, height = member(facts, "width"), member(facts, "height")
    if isinstance(width, int) and isinstance(height, int) and 0 < width <= 16_384 and 0 < height <= 16_384:
        return width, height
    return None


def member(value: object, *names: str) -> Any:
    """What lies at ``value[names[0]][names[1]]…``, or None."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def objects(value: object) -> list[dict[str, Any]]:
    """The objects in an array, or the object itself as the only one."""
    found = value if isinstance(value, list) else [value]
    return [item for item in found if isinstance(item, dict)]
