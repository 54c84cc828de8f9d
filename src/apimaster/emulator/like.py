"""What a recorded gateway does differently, so that the emulator can do the same: transcript → `Likeness`.

===========================  ===============================================================================
taken from the transcript    what the emulator does with it
===========================  ===============================================================================
the list of models           serves these ids, and no others
the replies to a purchase    answers a submit or a one-shot call in kind: task, picture(s), base64, ``code``
the polls                    dialect, envelope, status words, ``url`` or list, and how long a task takes
where the pictures are       on its own origin or on the second one; without the durable route, if it had none
each refusal                 the recorded status, ``type``, ``code`` and form, for the same mistake
routes beside the purchase   the recorded page, if the gateway refused or does not have the route
what was charged             the price per picture
the pixels                   the size of the picture at 1:1 and the resolution that was bought
request ids                  the same header names
===========================  ===============================================================================

What the transcript does not show stays as it is. Its placeholders become values of the same form.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from .dialects import Dialect
from .recorded import (
    FINISHED,
    PURCHASES,
    charged,
    downloads_of,
    media_type,
    member,
    objects,
    pixels,
    polls_of,
    task_in,
    task_seconds,
)
from .transcript import Exchange, Transcript, read_transcript

if TYPE_CHECKING:
    from .options import Settings
    from .validation import GenerationRequest

_REFUSALS: Final = (
    "wrong_key",
    "no_such_task",
    "no_such_model",
    "bad_parameter",
    "chat",
    "no_such_route",
    "output",
    "half_k",
    *PURCHASES,
)
_ROUTES: Final = {**PURCHASES, "no_such_model": "submit", "no_such_task": "poll"}
_PAGES: Final = {
    "account": ("GET", "/api/usage/token"),
    "log": ("GET", "/api/log/token"),
    "pricing": ("GET", "/api/pricing"),
    "marketplace": ("GET", "/api/public/marketplace"),
    "capabilities": ("GET", "/v1/webhook-capabilities"),
    "upload": ("POST", "/v1/uploads/images"),
}
_PLAIN_PAGES: Final = ("pricing", "marketplace", "capabilities")
"""Pages that are the same for everybody, so the emulator shows the recorded ones also where they were no refusal."""
_REQUEST_IDS: Final = ("x-request-id", "x-oneapi-request-id", "cf-ray")
_REFUSED_PURCHASE: Final = (400, 402, 403, 413, 422)
"""What a gateway answers to a purchase that it does not take. Other errors pass, or are about the route or the key."""
_HEADERS: Final = ("retry-after", "x-apimaster-routing-retry")
_ENDED: Final = FINISHED | {"failed", "error", "cancelled", "canceled"}


@dataclass(frozen=True, slots=True)
class RecordedReply:
    """A reply of the recorded gateway, with its placeholders."""

    status: int
    body: Any
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)

    def document(self, now: float) -> Any:
        """The JSON value to send; a text is the whole body."""
        return _filled(self.body, now)


@dataclass(frozen=True, slots=True)
class Likeness:
    """What the emulator takes from a transcript; empty without one.

    Attributes:
        settings: settings of `Emulator` that follow from it; those that a caller gives win.
        refusals: by the step of the probe that made the mistake.
        pages: by method and path.
        price: US dollars per picture; None: the list price.
        pixels: of a picture at 1:1, by the resolution that the probe bought.
        request_ids: the names of the headers with the request id; None: those of the emulator.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    refusals: Mapping[str, RecordedReply] = field(default_factory=dict)
    pages: Mapping[tuple[str, str], RecordedReply] = field(default_factory=dict)
    price: Decimal | None = None
    pixels: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    request_ids: tuple[str, ...] | None = None

    def refusal(self, route: str, status: int, code: object) -> RecordedReply | None:
        """The recorded reply to a mistake that the emulator answers with this status and code."""
        if status == 401:
            step = "wrong_key"
        elif code == "model_not_found":
            step = "no_such_model"
        elif route in ("sync", "submit"):
            step = "bad_parameter" if status == 400 else "submit" if (route, status) == ("submit", 404) else ""
        else:
            step = {"poll": "no_such_task", "chat": "chat", "other": "no_such_route"}.get(route, "")
        return self.refusals.get(step)

    def purchase_refused(self, request: GenerationRequest, *, submit: bool) -> RecordedReply | None:
        """The recorded reply, if the gateway refused a valid purchase of this kind."""
        if request.resolution == "0.5K" and "half_k" in self.refusals:
            return self.refusals["half_k"]
        references = bool(request.references)
        return self.refusals.get("edit" if references else "submit" if submit else "one_shot")

    def apply(self, request: GenerationRequest) -> None:
        """Give an accepted request the recorded price and pixels."""
        if self.price is not None:
            request.price = self.price
        if request.aspect_ratio == "1:1":
            request.pixels = self.pixels.get(request.resolution, request.pixels)


NOBODY: Final = Likeness()


def read_likeness(path: str | os.PathLike[str]) -> Likeness:
    """What a transcript in a file shows.

    Raises:
        ValueError: the file can't be read or is not a transcript; the message says what is wrong.
    """
    return likeness_of(read_transcript(path))


def with_likeness(settings: Settings) -> Settings:
    """The same settings with what ``like`` adds where the caller gives nothing.

    Raises:
        ValueError: ``like`` is not a transcript.
    """
    like = settings.get("like")
    if like is None or isinstance(like, Likeness):
        return settings
    found = read_likeness(like)
    return {**found.settings, **settings, "like": found}  # type: ignore[typeddict-item]


def likeness_of(transcript: Transcript) -> Likeness:
    """What a transcript shows."""
    refusals = {}
    for step in _REFUSALS:
        reply = transcript.last(step, _ROUTES.get(step))
        if reply is None or not _refused(reply):
            continue
        no_route = step == "submit" and reply.status == 404
        if step not in PURCHASES or reply.status in _REFUSED_PURCHASE or no_route:
            refusals[step] = _recorded(reply)
    pages = {}
    for step, address in _PAGES.items():
        reply = transcript.first(step)
        if reply is not None and (step in _PLAIN_PAGES or _refused(reply)):
            pages[address] = _recorded(reply)
    return Likeness(
        settings=dict(_settings(transcript)),
        refusals=refusals,
        pages=pages,
        price=_price(transcript),
        pixels=_pixels(transcript),
        request_ids=_request_ids(transcript),
    )


# --- what a transcript shows ------------------------------------------------------------------------------


def _settings(transcript: Transcript) -> Iterator[tuple[str, Any]]:
    listed = transcript.first("models")
    if listed is not None:
        models = objects(member(listed.body, "data"))
        ids = [item["id"] for item in models if isinstance(item.get("id"), str) and not item["id"].startswith("<")]
        if ids:
            yield "models", tuple(ids)
    yield "dialect", _dialect(transcript)
    seconds = task_seconds(transcript)
    if seconds is not None:
        yield "latency", seconds
    one_shot = transcript.last("one_shot", "sync")
    if one_shot is not None and len(objects(member(one_shot.body, "data"))) > 1:
        yield "channel", "several"
    pictures = downloads_of(transcript)
    if any(each.path == "<url elsewhere>" for each in pictures):
        yield "cdn", True
    kinds = [kind for each in pictures if (kind := media_type(each))]
    if kinds and (name := kinds[0].removeprefix("image/")) in ("png", "jpeg", "webp"):
        yield "picture_format", name


def _dialect(transcript: Transcript) -> Dialect:
    dialect = Dialect()
    submitted, one_shot = transcript.last("submit", "submit"), transcript.last("one_shot", "sync")
    if submitted is not None:
        if submitted.status == 404:
            dialect = replace(dialect, async_route=False)
        if submitted.status == 200:
            found = objects(member(submitted.body, "data"))
            as_image = any("url" in item or "b64_json" in item for item in found)
            dialect = replace(dialect, submit_as_image=as_image, code=member(submitted.body, "code") is not None)
    if one_shot is not None and one_shot.status == 200:
        found = objects(member(one_shot.body, "data"))
        dialect = replace(
            dialect,
            sync_as_task=any("task_id" in item for item in found),
            b64=any("b64_json" in item for item in found),
        )
    polls = [each for each in polls_of(transcript) if each.status == 200 and isinstance(each.body, dict)]
    if not polls:
        return dialect
    tasks = [task_in(each.body) for each in polls]
    words = [word for task in tasks if isinstance(word := task.get("status"), str)]
    legacy = any("progress" in task or "estimated_time" in task for task in tasks)
    finished = next((word for word in words if word.lower() in FINISHED), None)
    usual = "completed" if legacy else "succeeded"
    urls = [item.get("url") for task in tasks for item in objects(member(task.get("result"), "images"))]
    return replace(
        dialect,
        polls="legacy" if legacy else "tracked",
        envelope=all("data" in each.body for each in polls),
        upper_case=bool(words) and all(word.isupper() for word in words),
        finished_word=finished.lower() if finished is not None and finished.lower() != usual else None,
        running_words=tuple(dict.fromkeys(word.lower() for word in words if word.lower() not in _ENDED)),
        url_list=isinstance(urls[0], list) if urls else None,
    )


def _price(transcript: Transcript) -> Decimal | None:
    prices = charged(transcript)
    return prices.get("submit", next(iter(prices.values()), None))


def _pixels(transcript: Transcript) -> dict[str, tuple[int, int]]:
    seen = [pixels(each) for step in ("submit", "one_shot") for each in transcript.all(step, "download")]
    resolution = "0.5K" if transcript.first("half_k") is None else "1K"
    return {} if not seen or seen[0] is None else {resolution: seen[0]}


def _request_ids(transcript: Transcript) -> tuple[str, ...] | None:
    replies = [each for each in transcript.exchanges if each.status is not None and each.path.startswith("/v1/")]
    if not replies:
        return None
    return tuple(name for name in _REQUEST_IDS if any(name in each.headers for each in replies))


def _refused(reply: Exchange) -> bool:
    """Whether a reply is anything but a success in JSON."""
    document = reply.body
    if media_type(reply):
        return reply.status != 200
    failed = isinstance(document, dict) and (document.get("success") is False or document.get("code") is False)
    return (reply.status or 0) >= 400 or failed or not isinstance(document, dict)


def _recorded(reply: Exchange) -> RecordedReply:
    content_type = reply.headers.get("content-type", "")
    return RecordedReply(
        status=reply.status or 200,
        body=reply.body,
        content_type="" if content_type.startswith("<") else content_type,
        headers={
            name: value for name in _HEADERS if (value := reply.headers.get(name)) and not value.startswith("<other")
        },
    )


_FILLING: Final[Mapping[str, Any]] = {
    "<text>": "recorded text",
    "<number>": 1,
    "<nothing>": "",
    "<html>": "<!doctype html><title>recorded page</title>",
    "<id>": "id_1",
    "<base64>": "",
}


def _filled(value: Any, now: float) -> Any:
    if isinstance(value, dict):
        return {name: _filled(item, now) for name, item in value.items() if not name.startswith("<")}
    if isinstance(value, list):
        return [_filled(item, now) for item in value if item != "<more>"]
    if not isinstance(value, str) or not value.startswith("<"):
        return value
    if value == "<time>":
        return int(now)
    return "http://127.0.0.1/recorded" if value.startswith("<url") else _FILLING.get(value, "recorded text")
