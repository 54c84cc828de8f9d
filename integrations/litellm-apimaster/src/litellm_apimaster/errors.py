"""Which of LiteLLM's errors stands for which of ours: a table, and the one rule that matters.

LiteLLM's Router repeats 408, 409, 429 and 5xx (before 1.106 everything but 404), and the OpenAI client behind a proxy
repeats the same. An error after which nobody knows whether money was spent must be none of these, so it comes with
status 424, which neither repeats, in a class of its own that also says "no retries" to older Routers.

=========================  ==================================  =======  ============
ours                       LiteLLM's                           status   repeated by a Router
=========================  ==================================  =======  ============
BadRequestError            BadRequestError                     400      no
  422                      UnprocessableEntityError            422      no
ContentPolicyError         ContentPolicyViolationError         400      no
AuthenticationError        AuthenticationError                 401      on another deployment
InsufficientBalanceError   PaymentRequiredError (or APIError)  402      no
PermissionDeniedError      PermissionDeniedError               403      on another deployment
NotFoundError              NotFoundError                       404      no
RateLimitError             RateLimitError, retry-after         429      yes: nothing was billed
InternalServerError        by its status: InternalServerError, 500, 502, yes: what was reserved is given back
                           BadGatewayError, ServiceUnavailable 503
GenerationFailedError      InternalServerError                 500      yes: it was refunded
APIConnectionError         APIConnectionError                  500      yes: nothing was sent
TaskTimeoutError           WaitTimeout (a Timeout)             424      never: it is paid for
OutcomeUnknownError, …     OutcomeUnknown (an APIError)        424      never: may have been billed
=========================  ==================================  =======  ============
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from litellm import exceptions as theirs

from apimaster import errors as ours

from .params import PROVIDER

NEVER_REPEATED: Final = 424
"""Failed Dependency: neither LiteLLM nor the OpenAI client repeats it."""


class _NeverRepeated:
    """LiteLLM writes its own count into every exception and reads it back; here it stays 0."""

    @property
    def num_retries(self) -> int:
        return 0

    @num_retries.setter
    def num_retries(self, value: object) -> None:
        pass


class OutcomeUnknown(_NeverRepeated, theirs.APIError):  # type: ignore[misc]  # theirs is a plain attribute
    """The request went out and it may have been billed: asking again may pay twice.

    ``billed`` is ``"maybe"`` or ``"yes"``; ``task_ids`` are the tasks that are known, to be collected with
    ``apimaster task ID --wait``.
    """

    billed: str = "maybe"
    task_ids: tuple[str, ...] = ()


class WaitTimeout(_NeverRepeated, theirs.Timeout):  # type: ignore[misc]  # the same
    """The wait ended, and the task goes on, already paid for: ``task_ids`` names it."""

    billed: str = "yes"
    task_ids: tuple[str, ...] = ()


UNKNOWN_OUTCOMES: Final = frozenset({OutcomeUnknown.__name__, WaitTimeout.__name__})


def _permission_denied(**about: Any) -> Exception:
    return theirs.PermissionDeniedError(**about, response=_response(403))


# The class for 402 is younger than our oldest LiteLLM.
_no_balance: Final[Any] = getattr(theirs, "PaymentRequiredError", partial(theirs.APIError, status_code=402))
_BY_CLASS: Final[tuple[tuple[type[ours.APIMasterError], Callable[..., Exception]], ...]] = (
    (ours.ContentPolicyError, theirs.ContentPolicyViolationError),
    (ours.BadRequestError, theirs.BadRequestError),
    (ours.AuthenticationError, theirs.AuthenticationError),
    (ours.InsufficientBalanceError, _no_balance),
    (ours.PermissionDeniedError, _permission_denied),
    (ours.NotFoundError, theirs.NotFoundError),
    (ours.RateLimitError, theirs.RateLimitError),
    (ours.APIConnectionError, theirs.APIConnectionError),
)
_BY_STATUS: Final[dict[int, Callable[..., Exception]]] = {
    502: theirs.BadGatewayError,
    503: theirs.ServiceUnavailableError,
}


def to_litellm(error: ours.APIMasterError, *, model: str, retry_unknown: bool) -> Exception:
    """LiteLLM's error for one of ours.

    Args:
        error: what the core raised.
        model: the model id.
        retry_unknown: the operator's choice: let LiteLLM repeat what may have been billed, and pay for it.
    """
    if error.billed != "no":
        return _paid(error, model, retry_unknown)
    made: Exception = _free(error)(message=describe(error), llm_provider=PROVIDER, model=model)
    if isinstance(error, ours.RateLimitError) and error.retry_after is not None:
        # Where the Router, the proxy and the OpenAI client look for it: whole seconds, never too few.
        made.response.headers["retry-after"] = str(math.ceil(error.retry_after))  # type: ignore[attr-defined]
    return made


def _free(error: ours.APIMasterError) -> Callable[..., Exception]:
    """What makes LiteLLM's error for one that cost nothing."""
    found = next((made for kind, made in _BY_CLASS if isinstance(error, kind)), None)
    if error.status_code == 422 and found is theirs.BadRequestError:
        return partial(theirs.UnprocessableEntityError, response=_response(422))
    if found is not None:
        return found
    if error.retryable:
        return _BY_STATUS.get(error.status_code or 500, theirs.InternalServerError)
    return theirs.BadRequestError


def unexpected(error: Exception, *, model: str) -> Exception:
    """For a fault of our own after the purchase began: LiteLLM would take it for a passing one, and buy again."""
    return OutcomeUnknown(
        status_code=NEVER_REPEATED,
        message=f"{type(error).__name__}: {error}. The request may have gone out, so it may have been billed.",
        llm_provider=PROVIDER,
        model=model,
    )


def refused_retry(account: str, *, model: str) -> Exception:
    """For a second attempt at a request that may have been paid for. Nothing was sent."""
    return OutcomeUnknown(
        status_code=NEVER_REPEATED,
        message=f"Not sent again, since a second request may be a second charge. {account}",
        llm_provider=PROVIDER,
        model=model,
    )


def _paid(error: ours.APIMasterError, model: str, retry_unknown: bool) -> Exception:
    about: dict[str, Any] = {"message": describe(error), "llm_provider": PROVIDER, "model": model}
    waited = isinstance(error, ours.TaskTimeoutError)
    if retry_unknown:
        return theirs.Timeout(**about) if waited else theirs.InternalServerError(**about)
    made: Any = WaitTimeout(**about) if waited else OutcomeUnknown(status_code=NEVER_REPEATED, **about)
    made.status_code = NEVER_REPEATED
    made.billed = error.billed
    made.task_ids = task_ids(error)
    return made  # type: ignore[no-any-return]  # LiteLLM's classes carry no types


def task_ids(error: ours.APIMasterError) -> tuple[str, ...]:
    """The ids of the tasks that an error knows of."""
    return tuple(dict.fromkeys(task.id for task in error.tasks if task.id))


def describe(error: ours.APIMasterError) -> str:
    """The core's own words, completed with what a reader of LiteLLM's log can't look up: billing and tasks."""
    parts = [error.message]
    if error.billed != "no" and "may have been billed" not in error.message:
        parts.append("So it may have been billed already: don't order it again.")
    missing = [name for name in task_ids(error) if name not in error.message]
    if missing:
        parts.append(f"Known tasks, each to be collected with `apimaster task ID --wait`: {', '.join(missing)}.")
    if isinstance(error, ours.DownloadError):
        parts.extend(image.url for image in error.images if image.url)
    if error.request_id:
        parts.append(f"Request id: {error.request_id}.")
    return " ".join(parts)


def _response(status: int) -> Any:
    """A response for those classes that insist on one, of the kind that LiteLLM makes for the others."""
    sample = theirs.AuthenticationError(message="", llm_provider=PROVIDER, model="").response
    return type(sample)(status_code=status, request=sample.request)


__all__ = [
    "NEVER_REPEATED",
    "UNKNOWN_OUTCOMES",
    "OutcomeUnknown",
    "WaitTimeout",
    "refused_retry",
    "to_litellm",
    "unexpected",
]
