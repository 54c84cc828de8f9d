"""What an error means for one image of a batch, and for the rest of it: a table, no I/O.

before there is a task                          →  this image        the others
----------------------------------------------     ----------------  ---------------------------------
too many requests                                  again             all pause; fewer at once
the gateway can't be reached                       again             all pause
the gateway failed, and said so                    again, a few times  go on
refused: prompt, reference, parameters             failed            go on
key, permission, balance, wrong base URL           planned again     nothing more is submitted
nobody knows                                       unknown           go on

once there is a task                            →
----------------------------------------------
it failed, and was refunded                        failed            go on
it succeeded without a picture                     unknown           go on
its picture is gone for good                       unknown           go on
its picture can't be fetched or written now        stays delivered   go on
the wait ended, or the key does no longer          stays submitted   go on, or nothing more is submitted
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
    NoImageError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ReferenceImageError,
    ResultExpiredError,
)

Verdict = Literal["crowded", "unreachable", "again", "failed", "stop", "unknown", "kept"]
"""``kept``: the image stays in the state in which it is, and a later run picks it up."""

_STOPPING = (AuthenticationError, PermissionDeniedError, InsufficientBalanceError)


def before_task(error: APIMasterError) -> Verdict:
    """The verdict on an error of a submit."""
    if error.billed != "no":
        return "unknown"
    if isinstance(error, RateLimitError):
        return "crowded"
    if isinstance(error, APIConnectionError):
        return "unreachable"
    if isinstance(error, (*_STOPPING, NotFoundError)):
        return "stop"
    if isinstance(error, BadRequestError):
        # The request was checked long before: what fails on this side now is the folder, and fails for all.
        local = error.status_code is None and not isinstance(error, (ContentPolicyError, ReferenceImageError))
        return "stop" if local else "failed"
    return "again" if error.retryable else "failed"


def after_task(error: APIMasterError) -> Verdict:
    """The verdict on an error once the image is paid for."""
    if isinstance(error, (NoImageError, ResultExpiredError)):
        return "unknown"
    if isinstance(error, NotFoundError):
        return "unknown"  # the base URL is the one that took it, and it does not know the task
    if isinstance(error, DownloadError):
        return "kept"
    if isinstance(error, _STOPPING):
        return "stop"
    return "failed" if error.billed == "no" else "kept"
