"""Which of LiteLLM's errors stands for which of the core's: a table, and the one rule that matters.

LiteLLM's Router retries 408, 409, 429 and 5xx (before 1.106 everything but 404), and the OpenAI client behind a proxy
retries the same. An error after which the caller may already have paid must be none of these. So it comes with status
424, which neither retries, in a class of its own that also tells older Routers not to retry.

=========================  ==================================  =======  ============
the core's                 LiteLLM's                           status   retried by a Router
=========================  ==================================  =======  ============
BadRequestError            BadRequestError                     400      no
  422                      UnprocessableEntityError            422      no
ContentPolicyError         ContentPolicyViolationError         400      no
AuthenticationError        AuthenticationError                 401      on another deployment
InsufficientBalanceError   PaymentRequiredError (or APIError)  402      no
PermissionDeniedError      PermissionDeniedError               403      on another deployment
NotFoundError              NotFoundError                       404      no
RateLimitError             RateLimitError, retry-after         429      yes: nothing was charged
InternalServerError        by its status: InternalServerError, 500, 502, yes: the charge is given back
                           BadGatewayError, ServiceUnavailable 503
GenerationFailedError      InternalServerError                 500      yes: it was refunded
APIConnectionError         APIConnectionError                  500      yes: nothing was sent
LedgerError                ServiceUnavailableError             503      yes: nothing was sent
TaskTimeoutError           WaitTimeout (a Timeout)             424      never: it was charged
OutcomeUnknownError, …     OutcomeUnknown (an APIError)        424      never: it may have been charged
=========================  ==================================  =======  ============
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from litellm import exceptions as litellm_errors

from apimaster import errors as core_errors
from apimaster.adapters import describe_charge, sentence

from .params import PROVIDER

NEVER_RETRIED: Final = 424
"""Failed Dependency: neither LiteLLM nor the OpenAI client retries it."""


class _NeverRetried:
    """LiteLLM writes a number of retries into every exception and reads it back; here it stays 0."""

    @property
    def num_retries(self) -> int:
        return 0

    @num_retries.setter
    def num_retries(self, value: object) -> None:
        pass


class OutcomeUnknown(_NeverRetried, litellm_errors.APIError):  # type: ignore[misc]  # its num_retries is an attribute
    """The request was sent and may have been charged: asking again may be a second charge.

    ``billed`` is ``"maybe"`` or ``"yes"``; ``task_ids`` are the known tasks, which ``apimaster task ID --wait``
    collects. ``reported_cost``: US dollars that the failure event reports.
    """

    billed: str = "maybe"
    task_ids: tuple[str, ...] = ()
    reported_cost: float = 0.0


class WaitTimeout(_NeverRetried, litellm_errors.Timeout):  # type: ignore[misc]  # the same
    """The wait ended and the task goes on, already paid for: ``task_ids`` names it.

    ``reported_cost``: US dollars that the failure event reports.
    """

    billed: str = "yes"
    task_ids: tuple[str, ...] = ()
    reported_cost: float = 0.0


UNKNOWN_OUTCOMES: Final = frozenset({OutcomeUnknown.__name__, WaitTimeout.__name__})
"""The class names of errors after which the caller may already have paid."""


def _permission_denied(**about: Any) -> Exception:
    return litellm_errors.PermissionDeniedError(**about, response=_response(403))


# Older versions of LiteLLM have no class for 402.
_no_balance: Final[Any] = getattr(
    litellm_errors, "PaymentRequiredError", partial(litellm_errors.APIError, status_code=402)
)
_BY_CLASS: Final[tuple[tuple[type[core_errors.APIMasterError], Callable[..., Exception]], ...]] = (
    (core_errors.ContentPolicyError, litellm_errors.ContentPolicyViolationError),
    (core_errors.BadRequestError, litellm_errors.BadRequestError),
    (core_errors.AuthenticationError, litellm_errors.AuthenticationError),
    (core_errors.InsufficientBalanceError, _no_balance),
    (core_errors.PermissionDeniedError, _permission_denied),
    (core_errors.NotFoundError, litellm_errors.NotFoundError),
    (core_errors.RateLimitError, litellm_errors.RateLimitError),
    (core_errors.APIConnectionError, litellm_errors.APIConnectionError),
    (core_errors.LedgerError, litellm_errors.ServiceUnavailableError),
)
_BY_STATUS: Final[dict[int, Callable[..., Exception]]] = {
    502: litellm_errors.BadGatewayError,
    503: litellm_errors.ServiceUnavailableError,
}


def to_litellm(error: core_errors.APIMasterError, *, model: str, retry_unknown: bool) -> Exception:
    """LiteLLM's error for one of the core's.

    Args:
        error: what the core raised.
        model: the model id.
        retry_unknown: the operator's choice: let LiteLLM retry what may have been charged, at a further charge.
    """
    if error.billed != "no":
        return _billed(error, model, retry_unknown)
    made: Exception = _unbilled_class(error)(message=describe(error), llm_provider=PROVIDER, model=model)
    if isinstance(error, core_errors.RateLimitError) and error.retry_after is not None:
        # Where the Router, the proxy and the OpenAI client look for it: whole seconds, rounded up.
        made.response.headers["retry-after"] = str(math.ceil(error.retry_after))  # type: ignore[attr-defined]
    return made


def unexpected(bug: Exception) -> core_errors.OutcomeUnknownError:
    """For a bug after the purchase began: LiteLLM would take it for a passing fault, and buy again."""
    return core_errors.OutcomeUnknownError(f"The call failed unexpectedly with {type(bug).__name__}: {bug}")


def describe(error: core_errors.APIMasterError) -> str:
    """What happened, what it cost, and what to do next, for a reader of LiteLLM's error or log.

    Such a reader has the ``apimaster`` command and no client of the core, so advice that names the client's methods
    is worded for the command instead.
    """
    collectable = [task.id for task in error.tasks if task.id and (task.images or not task.done)]
    commands = ", ".join(f"`apimaster task {task_id} --wait`" for task_id in dict.fromkeys(collectable))
    images = error.images if isinstance(error, core_errors.DownloadError) else ()
    urls = ", ".join(dict.fromkeys(image.url for image in images if image.url))
    parts = (
        sentence(error.message),
        describe_charge(error.billed),
        _advice(error),
        commands and f"To collect what is paid for, run {commands}: that is free.",
        error.request_id and f"Request id: {error.request_id}.",
        urls and f"Image URLs: {urls}",
    )
    return " ".join(filter(None, parts))


def task_ids(error: core_errors.APIMasterError) -> tuple[str, ...]:
    """The ids of the tasks that an error knows of."""
    return tuple(dict.fromkeys(task.id for task in error.tasks if task.id))


def _advice(error: core_errors.APIMasterError) -> str:
    names_client_methods = isinstance(error, (core_errors.TaskTimeoutError, core_errors.DownloadError))
    if names_client_methods and not isinstance(error, core_errors.ResultExpiredError):
        return "Don't ask again: a new request would be a second charge."
    return error.advice


def _unbilled_class(error: core_errors.APIMasterError) -> Callable[..., Exception]:
    """What makes LiteLLM's error for one that cost nothing."""
    found = next((made for kind, made in _BY_CLASS if isinstance(error, kind)), None)
    if error.status_code == 422 and found is litellm_errors.BadRequestError:
        return partial(litellm_errors.UnprocessableEntityError, response=_response(422))
    if found is not None:
        return found
    if error.retryable:
        return _BY_STATUS.get(error.status_code or 500, litellm_errors.InternalServerError)
    return litellm_errors.BadRequestError


def _billed(error: core_errors.APIMasterError, model: str, retry_unknown: bool) -> Exception:
    about: dict[str, Any] = {"message": describe(error), "llm_provider": PROVIDER, "model": model}
    is_timeout = isinstance(error, core_errors.TaskTimeoutError)
    if retry_unknown:
        return litellm_errors.Timeout(**about) if is_timeout else litellm_errors.InternalServerError(**about)
    made: Any = WaitTimeout(**about) if is_timeout else OutcomeUnknown(status_code=NEVER_RETRIED, **about)
    made.status_code = NEVER_RETRIED
    made.billed = error.billed
    made.task_ids = task_ids(error)
    return made  # type: ignore[no-any-return]  # LiteLLM's classes carry no types


def _response(status: int) -> Any:
    """A response for those classes that insist on one, of the kind that LiteLLM makes for the others."""
    sample = litellm_errors.AuthenticationError(message="", llm_provider=PROVIDER, model="").response
    return type(sample)(status_code=status, request=sample.request)
