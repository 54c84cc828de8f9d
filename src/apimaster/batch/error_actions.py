"""What an error means for one image of a batch, and for the others: a table, no I/O.

before there is a task                          →  this image         the others
----------------------------------------------     -----------------  -----------------------------------
too many requests                                  again              all pause; fewer at once
the gateway can't be reached                       again              all pause
a setting of this machine is wrong                 planned again      no more submits
the gateway reports its own failure                again, few times   go on
refused: prompt, reference, parameters             failed             go on
key, permission, balance, wrong base URL, ledger   planned again      no more submits
it may have been charged                           unknown            go on

once there is a task                            →  this image         the others
----------------------------------------------     -----------------  -----------------------------------
it failed, and was refunded                        failed             go on
it succeeded without a picture                     unknown            go on
its picture is gone for good                       unknown            go on
its picture can't be fetched or written now        stays delivered    go on
the time for the wait is over                      stays submitted    go on
the gateway no longer accepts the key              stays submitted    no more submits
"""

from __future__ import annotations

from typing import Literal

from ..errors import (
    APIConnectionError,
    APIMasterError,
    AuthenticationError,
    BadRequestError,
    ContentPolicyError,
    DownloadError,
    InsufficientBalanceError,
    LedgerError,
    NoImageError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ReferenceImageError,
    ResultExpiredError,
)

ErrorAction = Literal["slow_down", "wait_for_network", "retry", "over_budget", "fail", "stop", "mark_unknown", "keep"]
"""``slow_down`` and ``wait_for_network``: plan the image again, and pause all. ``retry``: plan it again.
``over_budget``: it waits until money comes back. ``fail``, ``mark_unknown``: it has ended. ``stop``: submit no more
images. ``keep``: it stays in its state, for a later run."""

_STOPPING = (AuthenticationError, PermissionDeniedError, InsufficientBalanceError)


def action_before_task(error: APIMasterError) -> ErrorAction:
    """What to do about an error of a submit."""
    if error.billed != "no":
        return "mark_unknown"
    if isinstance(error, RateLimitError):
        return "slow_down"
    if isinstance(error, APIConnectionError):
        return "wait_for_network" if error.retryable else "stop"
    if isinstance(error, (*_STOPPING, NotFoundError, LedgerError)):
        return "stop"
    if isinstance(error, BadRequestError):
        # The request was checked before the run; a local check that fails now concerns the folder, so all images.
        local = error.status_code is None and not isinstance(error, (ContentPolicyError, ReferenceImageError))
        return "stop" if local else "fail"
    return "retry" if error.retryable else "fail"


def action_after_task(error: APIMasterError) -> ErrorAction:
    """What to do about an error once the image is paid for."""
    if isinstance(error, (NoImageError, ResultExpiredError)):
        return "mark_unknown"
    if isinstance(error, NotFoundError):
        return "mark_unknown"  # the gateway that took the request does not know the task
    if isinstance(error, DownloadError):
        return "keep"
    if isinstance(error, _STOPPING):
        return "stop"
    return "fail" if error.billed == "no" else "keep"
