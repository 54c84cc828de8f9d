"""Which reply becomes which error: the table of docs/endpoint.md, "Errors", as code.

Two questions decide every row: was the call billed, and may a paid call be sent again? The client believes JSON from
the gateway; HTML, an empty body or a proxy's status leave the outcome unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .._flows.operations import Reply
from ..errors import (
    APIMasterError,
    AuthenticationError,
    BadRequestError,
    ContentPolicyError,
    GenerationFailedError,
    InsufficientBalanceError,
    InternalServerError,
    NotFoundError,
    OutcomeUnknownError,
    PermissionDeniedError,
    RateLimitError,
)
from .json_reply import parsed
from .messages import excerpt, text_of
from .picture_refusal import is_about_pictures
from .retry_after import parse_retry_after

_MODERATION: Final = frozenset(
    {
        "sensitive_words_detected",
        "prompt_blocked",
        "content_policy_violation",
        "moderation_blocked",
        "image_safety",
        "prohibited_content",
        "safety",
    }
)
_NO_BALANCE: Final = frozenset({"insufficient_user_quota", "insufficient_quota", "insufficient_balance"})
_GENERATION_FAILED: Final = "image_generation_failed"
_ABOUT_WEBHOOKS: Final = (
    "Look with client.webhooks.list() whether there is such an endpoint, verify it with client.webhooks.verify(id), "
    "and ask client.webhooks.capabilities(model) whether the model has webhooks."
)
NO_SUCH_WEBHOOK: Final = "invalid_webhook_configuration"
"""The gateway's code for a webhook that it refuses: the model has none, or the endpoint is not verified."""
_FINAL: Final = ("not resubmit", "not be resubmitted")
"""What the text of an error holds that forbids a second submit, whatever the status and the model."""
NO_SUCH_MODEL: Final = "model_not_found"
_NO_CHANNEL: Final = "no available channel for model"  # the same in words: codes may be numbers, or missing
_BY_STATUS: Final[dict[int, type[APIMasterError]]] = {
    401: AuthenticationError,
    402: InsufficientBalanceError,
    403: PermissionDeniedError,
    404: NotFoundError,
    405: NotFoundError,
}
_LONGEST_ADDRESS: Final = 200
_REQUEST_ID_HEADERS: Final = ("x-request-id", "x-oneapi-request-id", "cf-ray")


def error_from(reply: Reply, *, paid: bool, wall: float, resubmit_502: bool = True) -> APIMasterError:
    """The error for a reply.

    ``paid`` says whether the call buys an image; ``wall`` is unix time; ``resubmit_502`` is False for a model whose 502
    does not prove that nothing was charged.
    """
    error, from_gateway = _error_object(reply)
    message = text_of(error.get("message")) or excerpt(reply)
    code = text_of(error.get("code")) or text_of(error.get("type"))
    if from_gateway and reply.status in (404, 503) and _NO_CHANNEL in message.lower():
        code = NO_SUCH_MODEL
    kind = _kind(reply.status, code, from_gateway=from_gateway, paid=paid)
    details: dict[str, Any] = {"status_code": reply.status, "code": code, "request_id": _request_id(reply)}
    if code == NO_SUCH_WEBHOOK:
        details["advice"] = _ABOUT_WEBHOOKS
    forbidden = from_gateway and any(words in message.lower() for words in _FINAL)
    if paid and forbidden and kind in (InternalServerError, GenerationFailedError, RateLimitError):
        kind = OutcomeUnknownError
    if paid and reply.status == 502 and not resubmit_502:
        if kind is InternalServerError:
            kind = OutcomeUnknownError
        elif kind is GenerationFailedError:
            details["retryable"] = False
    if reply.status == 304:
        return _not_modified(details)
    if 300 <= reply.status < 400:
        return _redirect(reply, details)
    if kind is RateLimitError:
        wait = parse_retry_after(reply.headers.get("retry-after"), wall)
        return RateLimitError(message, retry_after=wait, **details)
    made = kind(message, **details)
    if isinstance(made, BadRequestError):
        made.about_pictures = reply.status == 400 and from_gateway and is_about_pictures(error)
    return made


def _redirect(reply: Reply, details: Mapping[str, Any]) -> BadRequestError:
    """A redirect is not followed: the gateway did not take the request, and the key is meant for its address only."""
    to = reply.headers.get("location", "").partition("?")[0]
    where = f" to {to[:_LONGEST_ADDRESS]}" if to else ""
    return BadRequestError(
        f"the gateway's address redirects{where} (HTTP {reply.status}), and a call with a key is not redirected",
        advice="Set the base URL to the address that answers, with its scheme and /v1.",
        **details,
    )


def _not_modified(details: Mapping[str, Any]) -> BadRequestError:
    """A 304 answers a question about a copy, and the client keeps none: a cache in between mixed replies up."""
    return BadRequestError(
        "the gateway's address answered 304 (not modified), which says that an earlier reply still holds; "
        "the client keeps none",
        advice="Look for a cache between this machine and the gateway, such as a proxy, and exempt this address.",
        **details,
    )


def _kind(status: int, code: str | None, *, from_gateway: bool, paid: bool) -> type[APIMasterError]:
    lowered = (code or "").lower()
    if paid and from_gateway and status in (400, 404, 503) and lowered == NO_SUCH_MODEL:
        return NotFoundError
    if status == 429:
        return RateLimitError
    if status in (402, 403) and lowered in _NO_BALANCE:
        return InsufficientBalanceError
    if status == 408 or status >= 500:
        return _kind_of_server_fault(status, lowered, from_gateway=from_gateway, paid=paid)
    if lowered in _MODERATION:
        return ContentPolicyError
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if 300 <= status < 500:
        return BadRequestError  # a redirect too: the gateway did not take the request
    # 1xx, or a 2xx that is not a success: the request went out, and no more is known
    return OutcomeUnknownError if paid else InternalServerError


def _kind_of_server_fault(status: int, code: str, *, from_gateway: bool, paid: bool) -> type[APIMasterError]:
    if from_gateway and code == _GENERATION_FAILED:
        return GenerationFailedError
    if not paid or (from_gateway and status in (500, 502, 503)):
        return InternalServerError
    return OutcomeUnknownError


def task_failure(code: str | None) -> type[APIMasterError]:
    """The error class for a task that has failed."""
    return ContentPolicyError if (code or "").lower() in _MODERATION else GenerationFailedError


def _error_object(reply: Reply) -> tuple[dict[str, Any], bool]:
    """The error object in the body, and whether the gateway wrote it.

    Only the gateway writes an ``error`` member; some proxies write a bare ``message``.
    """
    try:
        document = parsed(reply.body)
    except ValueError:
        return {}, False
    if not isinstance(document, dict):
        return {}, False
    error = document.get("error")
    if isinstance(error, dict):
        return error, True
    if isinstance(error, str) and error:
        return {"message": error, "code": document.get("code")}, True
    return document, False


def _request_id(reply: Reply) -> str | None:
    return next((reply.headers[name] for name in _REQUEST_ID_HEADERS if name in reply.headers), None)
