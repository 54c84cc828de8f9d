"""Everything that can go wrong, by name: one row for each error of the gateway, of a proxy and of the network.

A fault happens at one *place*: when a client asks for an image (``generate``: one-shot calls and submits), to the
image job itself (``task``), when a client polls it (``poll``), when it fetches the picture (``download``), when it
uploads a reference image (``upload``), when it reads a page beside ``/v1``: the usage log (``log``), the figures of the
key (``usage``), the public prices (``pricing``), when it manages webhooks (``webhooks``), or to a webhook on its way to
the receiver (``delivery``). Each row says what goes on the wire. A row at ``generate`` also says whether the gateway
accepted the job all the same: then it charges for the job and runs it, although the client never learns of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, Final, Literal, get_args

Place = Literal[
    "generate", "task", "poll", "download", "output", "upload", "log", "usage", "pricing", "webhooks", "delivery"
]
PLACES: Final[tuple[str, ...]] = get_args(Place)
Wire = Literal["reply", "cut", "hang", "slow", "truncate", "endless", "picture", "outcome", "delivery"]
Delivery = Literal["lost", "unreachable", "duplicated", "delayed", "reordered", "forged", "stale", "old_secret"]

HTML: Final = "text/html; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong.

    Attributes:
        name: its name in scripts, on the command line and in the recorded requests.
        place: where it happens, unless a script moves it with ``on=``.
        wire: what goes on the wire: ``reply`` (a whole response), ``cut`` (the connection breaks), ``hang`` (silence),
            ``slow``, ``truncate`` or ``endless`` (such a body), ``picture`` (a wrong picture), ``outcome`` (nothing
            now: the image job ends differently), or ``delivery`` (a webhook goes out differently).
        status: HTTP status.
        message, type, code: the JSON error; without a message the response holds ``body``.
        body: the body, if it is not a JSON error.
        content_type: media type of ``body``.
        headers: further headers.
        retry_after: the ``Retry-After`` header: seconds, or ``"date:30"`` for an HTTP date in 30 seconds.
        accepted: the gateway accepts the job, charges for it and runs it.
        refunded: the gateway accepts the job, which fails, and refunds it at once.
        seconds: how long a slow body takes, a delayed or reordered delivery waits at most, or how old a stale one is.
        reset: a cut is a TCP reset instead of an orderly end.
        location: target of a redirect; ``"cdn"`` means the emulator's second origin.
        picture: what is wrong with the delivered picture.
        outcome: how the image job ends.
        reason: the error that a failed task reports: text, an object, or None.
        delivery: what happens to a webhook.
    """

    name: str
    place: Place
    wire: Wire = "reply"
    status: int = 200
    message: str | None = None
    type: str = "new_api_error"
    code: str | int | None = None
    body: str = ""
    content_type: str = HTML
    headers: Mapping[str, str] = field(default_factory=dict)
    retry_after: float | str | None = None
    accepted: bool = False
    refunded: bool = False
    seconds: float = 1.0
    reset: bool = False
    location: str | None = None
    picture: Literal["html", "wrong_pixels", "wrong_format", "cut_short", "empty"] | None = None
    outcome: Literal["failed", "cancelled", "never", "no_image"] | None = None
    reason: str | Mapping[str, Any] | None = None
    delivery: Delivery | None = None

    def changed(self, options: Mapping[str, Any]) -> Fault:
        """A copy of the fault with some attributes changed.

        Raises:
            ValueError: there is no such attribute.
        """
        accepted = {item.name for item in fields(self)} - {"name", "place"}
        unknown = set(options) - accepted
        if unknown:
            raise ValueError(f"fault option {min(unknown)!r} is not known; accepted: {', '.join(sorted(accepted))}")
        return replace(self, **options)


def fault_named(name: str) -> Fault:
    """The fault of that name.

    Raises:
        ValueError: there is no such fault; the message lists the names.
    """
    try:
        return FAULTS[name]
    except KeyError:
        raise ValueError(f"fault {name!r} is not known; accepted: {', '.join(FAULTS)}") from None


# --- the table --------------------------------------------------------------------------------------------

_PROXY_PAGE: Final = (
    "<html>\r\n<head><title>{0}</title></head>\r\n<body>\r\n<center><h1>{0}</h1></center>\r\n"
    "<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)


# A row whose response is a JSON error of the gateway, and one whose response is a proxy's HTML page.


def _json(name: str, status: int, message: str, kind: str, code: str | None = None, **more: Any) -> Fault:
    place = more.pop("place", "generate")
    return Fault(name, place, status=status, message=message, type=kind, code=code, **more)


def _html(name: str, status: int, title: str, **more: Any) -> Fault:
    place = more.pop("place", "generate")
    return Fault(name, place, status=status, body=_PROXY_PAGE.format(f"{status} {title}"), **more)


# The values of ``error.type``.
_INVALID: Final = "invalid_request_error"
_NEW: Final = "new_api_error"
_SERVER: Final = "server_error"
_UPSTREAM: Final = "upstream_error"

_GENERATE: Final = (
    # the gateway refuses the request and charges nothing
    _json("bad_request", 400, "invalid request: unsupported parameter value", _INVALID, "invalid_request"),
    _json("wrong_endpoint", 400, "this model is not served by the Images API", _INVALID, "invalid_request"),
    _json("moderation", 400, "user sensitive words detected", _NEW, "sensitive_words_detected"),
    _json("prompt_blocked", 400, "the prompt was blocked by the safety system", _UPSTREAM, "prompt_blocked"),
    _json("unauthorized", 401, "Invalid token", _NEW, "invalid_token"),
    _json("no_balance_402", 402, "insufficient balance", _NEW, "insufficient_user_quota"),
    _json("no_balance_403", 403, "user quota is not enough", _NEW, "insufficient_user_quota"),
    _json("model_forbidden", 403, "this token may not use the requested model", _NEW, "model_not_allowed"),
    _json("not_found", 404, "Invalid URL (POST)", _INVALID),
    Fault("not_found_html", "generate", status=404, body="<html><body>404 page not found</body></html>"),
    Fault("method_not_allowed", "generate", status=405, body=_PROXY_PAGE.format("405 Not Allowed")),
    _json("too_large", 413, "request body too large", _NEW, "request_too_large"),
    _html("proxy_413_html", 413, "Request Entity Too Large"),
    _json("unprocessable", 422, "image_urls[0] could not be processed", _UPSTREAM, "unprocessable_entity"),
    _json("rate_limited", 429, "too many requests, please slow down", _NEW, "rate_limit_exceeded", retry_after=1),
    _json("rate_limited_date", 429, "too many requests", _NEW, "rate_limit_exceeded", retry_after="date:1"),
    _json("rate_limited_far", 429, "too many requests today", _NEW, "rate_limit_exceeded", retry_after=86400),
    _json("concurrency_limited", 429, "too many running jobs for this token", _NEW, "token_concurrency_limit_reached"),
    _json("server_error_500", 500, "internal server error", _NEW, "do_request_failed"),
    _json("bad_gateway_json_502", 502, "bad response from upstream", _UPSTREAM, "bad_response_status_code"),
    _json("unavailable_503", 503, "no available channel, please retry later", _NEW, "get_channel_failed"),
    _json("generation_failed_502", 502, "image generation failed", _UPSTREAM, "image_generation_failed", refunded=True),
    Fault("redirect", "generate", status=307, location="cdn"),
    Fault("cut_before_acceptance", "generate", wire="cut"),
    # the client can't know: the gateway accepts the job, charges for it and runs it
    _json("gateway_timeout_408", 408, "image generation timed out", _NEW, "image_generation_timeout", accepted=True),
    # for a model of which the table says that its 502 must not be sent again
    _json("do_not_resubmit_502", 502, "the upstream did not answer in time, do not resubmit automatically", _UPSTREAM,
          "bad_response_status_code", accepted=True),
    _html("proxy_502_html", 502, "Bad Gateway", accepted=True),
    Fault("proxy_502_empty", "generate", status=502, accepted=True),
    _html("proxy_504_html", 504, "Gateway Time-out", accepted=True),
    _html("proxy_524_html", 524, "A timeout occurred", accepted=True),
    Fault("proxy_524_empty", "generate", status=524, accepted=True),
    Fault("cut_after_acceptance", "generate", wire="cut", accepted=True),
    Fault("hang", "generate", wire="hang", accepted=True),
    Fault("slow_body", "generate", wire="slow", accepted=True),
    Fault("truncated_body", "generate", wire="truncate", accepted=True),
    Fault("garbage_json", "generate", body='{"created": 1782633696, "data": [{"ur', content_type="application/json",
          accepted=True),
    Fault("html_200", "generate", body=_PROXY_PAGE.format("Just a moment..."), accepted=True),
    Fault("empty_success", "generate", body='{"created": 1782633696, "data": []}', content_type="application/json",
          accepted=True),
)  # fmt: skip

_REFUSED: Final = "upstream refused the job"
_BLOCKED: Final = {"code": "prompt_blocked", "message": "the prompt was blocked"}
_TASK: Final = (
    Fault("task_failed", "task", wire="outcome", outcome="failed"),
    Fault("task_failed_text", "task", wire="outcome", outcome="failed", reason=_REFUSED),
    Fault("task_failed_object", "task", wire="outcome", outcome="failed",
          reason={"code": "upstream_failure", "message": _REFUSED}),
    Fault("task_moderated", "task", wire="outcome", outcome="failed", reason=_BLOCKED),
    Fault("task_cancelled", "task", wire="outcome", outcome="cancelled"),
    Fault("task_never_ends", "task", wire="outcome", outcome="never"),
    Fault("task_no_image", "task", wire="outcome", outcome="no_image"),
)  # fmt: skip

_POLL: Final = (
    _json("poll_500", 500, "internal server error", _SERVER, place="poll"),
    _json("poll_502", 502, "task service unavailable", _SERVER, place="poll"),
    _json("poll_503", 503, "task service unavailable", _SERVER, place="poll"),
    _html("poll_502_html", 502, "Bad Gateway", place="poll"),
    Fault("poll_524_empty", "poll", status=524),
    _json("poll_429", 429, "too many requests", _NEW, "rate_limit_exceeded", place="poll", retry_after=1),
    _json("poll_429_date", 429, "too many requests", _NEW, "rate_limit_exceeded", place="poll", retry_after="date:1"),
    _json("poll_404", 404, "task not found", _INVALID, "task_not_exist", place="poll"),
    _json("poll_401", 401, "Invalid token", _NEW, "invalid_token", place="poll"),
    Fault("poll_garbage", "poll", body='{"data": {"status": "in_pro', content_type="application/json"),
    Fault("poll_html_200", "poll", body=_PROXY_PAGE.format("Just a moment...")),
    Fault("poll_empty", "poll", body="", content_type="application/json"),
    Fault("poll_unknown_word", "poll", body='{"data":{"status":"reticulating"}}', content_type="application/json"),
    Fault("poll_redirect", "poll", status=302, location="cdn"),
    Fault("poll_cut", "poll", wire="cut"),
    Fault("poll_hang", "poll", wire="hang"),
    Fault("poll_slow", "poll", wire="slow"),
    Fault("poll_truncated", "poll", wire="truncate"),
)

_DOWNLOAD: Final = (
    Fault("download_expired", "download", status=403, content_type="application/xml",
          body="<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"),
    _json("download_404", 404, "file not found", _INVALID, place="download"),
    _html("download_410", 410, "Gone", place="download"),
    _html("download_500", 500, "Internal Server Error", place="download"),
    _html("download_503", 503, "Service Unavailable", place="download"),
    _html("download_429", 429, "Too Many Requests", place="download", retry_after=1),
    Fault("download_html_as_png", "download", wire="picture", picture="html"),
    Fault("download_wrong_pixels", "download", wire="picture", picture="wrong_pixels"),
    Fault("download_wrong_format", "download", wire="picture", picture="wrong_format"),
    Fault("download_cut_short", "download", wire="picture", picture="cut_short"),
    Fault("download_empty", "download", wire="picture", picture="empty"),
    Fault("download_truncated", "download", wire="truncate"),
    Fault("download_cut", "download", wire="cut"),
    Fault("download_hang", "download", wire="hang"),
    Fault("download_slow", "download", wire="slow"),
    Fault("download_oversized", "download", wire="endless"),
    Fault("download_oversized_claimed", "download", wire="endless", headers={"content-length": str(1 << 40)}),
    Fault("download_redirect", "download", status=302, location="cdn"),
    Fault("download_redirect_private", "download", status=302, location="http://10.0.0.1/picture.png"),
    Fault("download_redirect_loop", "download", status=302, location="self"),
)  # fmt: skip

_UPLOAD: Final = (
    _json("upload_400", 400, "the file is not an image", _INVALID, "invalid_image", place="upload"),
    _json("upload_401", 401, "Invalid token", _NEW, "invalid_token", place="upload"),
    Fault("upload_404", "upload", status=404, body="<html><body>404 page not found</body></html>"),
    Fault("upload_413", "upload", status=413, body='{"error":{"message":"file too large"}}',
          content_type="application/json"),
    _html("upload_413_html", 413, "Request Entity Too Large", place="upload"),
    _json("upload_429", 429, "too many requests", _NEW, "rate_limit_exceeded", place="upload", retry_after=1),
    _json("upload_500", 500, "storage is not available", _SERVER, place="upload"),
    _json("upload_503", 503, "storage is not available", _SERVER, place="upload"),
    _html("upload_502_html", 502, "Bad Gateway", place="upload"),
    Fault("upload_cut", "upload", wire="cut"),
    Fault("upload_hang", "upload", wire="hang"),
    Fault("upload_slow", "upload", wire="slow"),
    Fault("upload_truncated", "upload", wire="truncate"),
    Fault("upload_html_200", "upload", body=_PROXY_PAGE.format("Just a moment...")),
    Fault("upload_garbage", "upload", body='{"url": "https://', content_type="application/json"),
    Fault("upload_no_url", "upload", body='{"filename": "a.png"}', content_type="application/json"),
)  # fmt: skip


def _of_book(place: Place, refusal: str) -> tuple[Fault, ...]:
    """The faults of a page beside ``/v1``; ``refusal`` is the member by which it says no with HTTP 200."""
    return (
        _json(f"{place}_500", 500, "internal server error", _SERVER, place=place),
        Fault(f"{place}_429", place, status=429),
        Fault(
            f"{place}_refused",
            place,
            body=f'{{"{refusal}":false,"message":"this token may not read it"}}',
            content_type="application/json",
        ),
        Fault(f"{place}_html_200", place, body="<!doctype html><title>Console</title><div id=root></div>"),
        Fault(
            f"{place}_garbage", place, body=f'{{"{refusal}": true, "data": [{{"crea', content_type="application/json"
        ),
    )


_WEBHOOKS: Final = (
    _json("webhooks_401", 401, "Invalid token", _NEW, "invalid_token", place="webhooks"),
    _json("webhooks_429", 429, "too many requests", _NEW, "rate_limit_exceeded", place="webhooks", retry_after=1),
    _json("webhooks_500", 500, "internal server error", _SERVER, place="webhooks"),
    _json("webhooks_503", 503, "webhook service unavailable", _SERVER, place="webhooks"),
    _html("webhooks_502_html", 502, "Bad Gateway", place="webhooks"),
    Fault("webhooks_html_200", "webhooks", body="<!doctype html><title>Console</title><div id=root></div>"),
    Fault("webhooks_garbage", "webhooks", body='{"data": [{"id": "whep_', content_type="application/json"),
    Fault("webhooks_cut", "webhooks", wire="cut"),
    # the gateway does what was asked for, but its answer does not arrive
    Fault("webhooks_cut_after", "webhooks", wire="cut", accepted=True),
    Fault("webhooks_hang", "webhooks", wire="hang"),
)

_DELIVERY: Final = (
    # a proxy in front of the receiver answers 200, and loses it: the gateway does not repeat it
    Fault("delivery_lost", "delivery", wire="delivery", delivery="lost"),
    Fault("delivery_unreachable", "delivery", wire="delivery", delivery="unreachable"),  # so it is repeated
    Fault("delivery_duplicated", "delivery", wire="delivery", delivery="duplicated"),
    Fault("delivery_delayed", "delivery", wire="delivery", delivery="delayed", seconds=5.0),
    # it waits until another event of its endpoint has been delivered
    Fault("delivery_reordered", "delivery", wire="delivery", delivery="reordered", seconds=5.0),
    # before it comes a delivery with a wrong signature, which says that another task has succeeded
    Fault("delivery_forged", "delivery", wire="delivery", delivery="forged"),
    Fault("delivery_stale", "delivery", wire="delivery", delivery="stale", seconds=3600.0),
    # signed with the secret before the last rotation, as long as that is valid
    Fault("delivery_old_secret", "delivery", wire="delivery", delivery="old_secret"),
)

_GENERAL: Final = (
    Fault("ok", "generate"),  # lets a request pass, so that a script can say "the third one fails"
    Fault("reply", "generate", content_type="application/json"),  # any response that a script spells out
)

FAULTS: Final[Mapping[str, Fault]] = MappingProxyType(
    {
        fault.name: fault
        for fault in (
            *_GENERATE,
            *_TASK,
            *_POLL,
            *_DOWNLOAD,
            *_UPLOAD,
            *_of_book("log", "success"),
            *_of_book("usage", "code"),
            *_of_book("pricing", "success"),
            *_WEBHOOKS,
            *_DELIVERY,
            *_GENERAL,
        )
    }
)
"""Every fault by name."""
