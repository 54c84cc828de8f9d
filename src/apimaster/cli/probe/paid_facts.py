"""The facts that only a probe which buys pictures can check: replies, tasks, pictures, time. One row for each."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from ...catalog import spec_for
from ...emulator.recorded import (
    PURCHASES,
    downloads_of,
    media_type,
    member,
    objects,
    pixels,
    polls_of,
    task_in,
    task_seconds,
)
from ...emulator.transcript import Exchange, Transcript
from .fact import Fact, Seen, differs, holds, not_seen, passing, passing_fault, reply_text, verdict
from .plan import ASPECT_RATIO, NEXT_RESOLUTION, REFUSED, RESOLUTION, bought_at

_NOT_BOUGHT: Final = not_seen("it was not bought; see --spend")
_QUEUED: Final = frozenset({"submitted", "queued", "pending", "not_start", "created"})
_RUNNING: Final = frozenset({"processing", "in_progress", "running"})
_FINISHED: Final = frozenset({"completed", "succeeded", "success"})
_FAILED: Final = frozenset({"failed", "error", "cancelled", "canceled"})
_SLOWEST: Final = 60.0
_ONE_SHOT_LIMIT: Final = 180.0
_MEDIA_TYPES: Final = ("image/png", "image/jpeg", "image/webp")


def _submitted(transcript: Transcript) -> Seen:
    reply = transcript.last("submit", "submit")
    if reply is None:
        return _NOT_BOUGHT
    if passing(reply):
        return passing_fault(reply)
    items = objects(member(reply.body, "data") or [])
    if reply.status != 200 or not items:
        return differs(reply_text(reply))
    if _has_picture(items):
        return holds("HTTP 200 with the finished picture")
    task_id, word = items[0].get("task_id"), items[0].get("status")
    first = "code" if member(reply.body, "code") is not None else "created" if "created" in reply.body else "no code"
    right = task_id is not None and str(word).lower() in _QUEUED
    return verdict(right, f"HTTP 200 with {first}; status {word}; {_id_form(task_id)}")


def _id_form(task_id: object) -> str:
    found = re.fullmatch(r"<task (\w+)>", str(task_id))
    return f"a task id {found[1]}_…" if found else "a task id of another form" if task_id else "no task id"


def _has_picture(items: list[dict[str, Any]]) -> bool:
    return any(item.get("url") or item.get("b64_json") for item in items)


def _one_shot(transcript: Transcript) -> Seen:
    reply = transcript.last("one_shot", "sync")
    if reply is None:
        return _NOT_BOUGHT
    if passing(reply):
        return passing_fault(reply)
    items = objects(member(reply.body, "data") or [])
    if reply.status != 200 or not items:
        return differs(reply_text(reply))
    if any("task_id" in item for item in items):
        return holds("HTTP 200 with a task")
    kind = "url" if any(item.get("url") for item in items) else "b64_json" if _has_picture(items) else ""
    return verdict(bool(kind), f"HTTP 200 with {kind or 'no picture'}; {len(items)} in data")


def _polls(look: Callable[[list[dict[str, Any]], list[Exchange]], Seen]) -> Callable[[Transcript], Seen]:
    def check(transcript: Transcript) -> Seen:
        polls = [each for each in polls_of(transcript) if each.status == 200]
        if not polls:
            return not_seen("no task was polled")
        return look([dict(task_in(each.body)) for each in polls if isinstance(each.body, dict)], polls)

    return check


def _dialect(tasks: list[dict[str, Any]], polls: list[Exchange]) -> Seen:
    without = [task for task in tasks if not isinstance(task.get("status"), str)]
    if without or len(tasks) < len(polls):
        return differs("a poll without a status")
    legacy = any("progress" in task or "estimated_time" in task for task in tasks)
    envelope = all("data" in each.body for each in polls)
    return holds(f"{'legacy' if legacy else 'tracked'}, {'in' if envelope else 'without'} the envelope data")


def _words(tasks: list[dict[str, Any]], polls: list[Exchange]) -> Seen:
    words = list(dict.fromkeys(str(task.get("status")) for task in tasks))
    known = _QUEUED | _RUNNING | _FINISHED | _FAILED
    unknown = [word for word in words if word.lower() not in known]
    if unknown:
        return differs(f"not known here: {', '.join(unknown)}")
    ends = [word for word in words if word.lower() in _FINISHED | _FAILED]
    return holds(f"the task ends as {', '.join(ends)}") if ends else not_seen("no task ended while the probe looked")


def _result(tasks: list[dict[str, Any]], polls: list[Exchange]) -> Seen:
    done = [task for task in tasks if str(task.get("status")).lower() in _FINISHED]
    if not done:
        return not_seen("no task succeeded")
    pictures = objects(member(done[0], "result", "images") or [])
    if not pictures:
        return differs("a finished task without result.images")
    url = pictures[0].get("url")
    form = "a list" if isinstance(url, list) else "a text" if isinstance(url, str) else ""
    return verdict(bool(form), f"url is {form}" if form else "no url in result.images")


def _task_time(transcript: Transcript) -> Seen:
    seconds = task_seconds(transcript)
    return not_seen("no task was seen to end") if seconds is None else verdict(seconds <= _SLOWEST, f"{seconds:.0f} s")


def _one_shot_time(transcript: Transcript) -> Seen:
    reply = transcript.last("one_shot", "sync")
    if reply is not None and passing(reply):
        return passing_fault(reply)
    return _NOT_BOUGHT if reply is None else verdict(reply.seconds < _ONE_SHOT_LIMIT, f"{reply.seconds:.0f} s")


def _result_urls(transcript: Transcript) -> Seen:
    replies = downloads_of(transcript)
    if not replies:
        return not_seen("no picture was downloaded")
    refused = [each for each in replies if each.status != 200 or not media_type(each)]
    if refused:
        return differs(f"{refused[0].path.strip('<>')}: {reply_text(refused[0])}")
    places = sorted({each.path.strip("<>").removeprefix("url ") for each in replies})
    return holds(f"{', '.join(places)}; {', '.join(sorted({media_type(each) for each in replies}))}")


def _without_key(transcript: Transcript) -> Seen:
    reply = transcript.first("without_key")
    if reply is None:
        return not_seen("no picture had a URL")
    if reply.route == "output":
        return not_seen("the picture is at the durable output, which is for the key's owner")
    where = reply.path.strip("<>").removeprefix("url ")
    return verdict(reply.status == 200 and bool(media_type(reply)), f"{where}: {reply_text(reply)}")


def _pixels(transcript: Transcript) -> Seen:
    expected = spec_for(transcript.model).pixels(ASPECT_RATIO, bought_at(transcript))
    found = sorted({size for step in ("submit", "one_shot") for each in transcript.all(step) if (size := pixels(each))})
    if not found:
        return not_seen("no picture of that size was downloaded")
    return verdict(found == [expected], ", ".join(f"{width}×{height}" for width, height in found))


def _durable(transcript: Transcript) -> Seen:
    reply = transcript.first("output")
    if reply is None:
        return not_seen("no task delivered a picture")
    kind = media_type(reply)
    return verdict(reply.status == 200 and kind in _MEDIA_TYPES, f"HTTP 200, {kind}" if kind else reply_text(reply))


def _upload(transcript: Transcript) -> Seen:
    reply = transcript.first("upload")
    if reply is None:
        return _NOT_BOUGHT
    if passing(reply):
        return passing_fault(reply)
    if reply.status is None or reply.status >= 300 or not isinstance(member(reply.body, "url"), str):
        return differs(reply_text(reply))
    missing = [name for name in ("filename", "content_type", "bytes", "created_at") if name not in reply.body]
    return verdict(
        not missing, f"HTTP {reply.status}" + (f" without {', '.join(missing)}" if missing else ", all five")
    )


def _uploaded(transcript: Transcript) -> Seen:
    reply = transcript.first("uploaded")
    if reply is None:
        return not_seen("there is no URL of an upload that may be fetched")
    kind = media_type(reply)
    return verdict(reply.status == 200 and bool(kind), f"HTTP {reply.status}, {kind}" if kind else reply_text(reply))


def _edit(transcript: Transcript) -> Seen:
    purchase = next((each for each in transcript.purchases if each.step == "edit"), None)
    reply = transcript.last("edit", "submit")
    if purchase is None or reply is None:
        return _NOT_BOUGHT
    if passing(reply):
        return passing_fault(reply)
    if purchase.state in ("sent", "task", "unknown"):
        return not_seen("the picture is not here")
    return verdict(purchase.state == "delivered", "a picture" if purchase.state == "delivered" else reply_text(reply))


def _resolution(transcript: Transcript) -> Seen:
    refused = transcript.first(REFUSED)
    if refused is not None:
        return differs(reply_text(refused))
    replies = [each for step, route in PURCHASES.items() if (each := transcript.last(step, route))]
    if not replies:
        return _NOT_BOUGHT
    taken = [each for each in replies if each.status == 200]
    return holds(reply_text(taken[0])) if taken else not_seen(reply_text(replies[0]))


PAID_FACTS: Final = tuple(
    Fact(name, section, belief, check, paid=True)
    for name, section, belief, check in (
        ("submit_reply", "Replies", "A submit answers with a task, or with a finished picture", _submitted),
        ("one_shot_reply", "Replies", "A one-shot call answers with a picture, or with a task", _one_shot),
        ("poll_dialect", "Replies", "A poll answers in one of two dialects", _polls(_dialect)),
        ("status_words", "Replies", "The status words of a task are those that we know", _polls(_words)),
        ("task_result", "Replies", "A finished task has result.images with url", _polls(_result)),
        ("result_url", "Replies", "The URL of a picture brings PNG, JPEG or WebP", _result_urls),
        ("result_without_key", "Replies", "The URL of a picture outside /v1 needs no key", _without_key),
        ("durable_output", "Requests", "A task's picture is also at /tasks/{id}/outputs/0/content", _durable),
        ("half_k", "References", f"{RESOLUTION} is accepted", _resolution),
        (
            "pixels",
            "Requests",
            f"{ASPECT_RATIO} at {RESOLUTION} has 512×512 pixels, at {NEXT_RESOLUTION} 1024×1024",
            _pixels,
        ),
        ("task_time", "Time", f"A task takes at most {_SLOWEST:.0f} s as a rule", _task_time),
        ("one_shot_time", "Time", f"A one-shot call ends within {_ONE_SHOT_LIMIT:.0f} s", _one_shot_time),
        ("upload", "References", "An upload answers with url, filename, content_type, bytes, created_at", _upload),
        ("upload_is_public", "References", "The URL of an upload needs no key", _uploaded),
        ("edit", "References", "A generation takes the URL of an upload as a reference", _edit),
    )
)
