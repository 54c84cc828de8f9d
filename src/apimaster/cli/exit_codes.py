"""Which error ends the command with which exit code.

The code that matters most is 7: the account was or may have been charged and the picture is not here, so a script must
not simply run the command again. It depends on ``.billed``, whatever the class; the other codes say who has to act. An
endpoint or a secret that may have been made has the same code, although it costs nothing.
"""

from __future__ import annotations

from typing import Final

from ..errors import (
    APIConnectionError,
    APIMasterError,
    AuthenticationError,
    BadRequestError,
    BudgetExceededError,
    InsufficientBalanceError,
    LedgerError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
)
from ..results import ImageFailure
from ..webhooks import WebhookOutcomeUnknownError

OK: Final = 0
BUG: Final = 1
USAGE: Final = 2
KEY: Final = 3
BALANCE: Final = 4
UNREACHABLE: Final = 5
FAILED: Final = 6
UNKNOWN: Final = 7
DIFFERS: Final = 8
INTERRUPTED: Final = 130

UNKNOWN_IDS: Final = frozenset(
    {"model_not_found", "task_not_exist", "webhook_endpoint_not_found", "webhook_event_not_found"}
)
"""Codes of a `NotFoundError` that is about an id of the command line. Any other 404 may be that of a wrong base URL."""

_CODES: Final[tuple[tuple[type[APIMasterError], int], ...]] = (
    (BadRequestError, USAGE),
    (AuthenticationError, KEY),
    (PermissionDeniedError, KEY),
    (InsufficientBalanceError, BALANCE),
    (BudgetExceededError, BALANCE),
    (APIConnectionError, UNREACHABLE),
    (NotFoundError, UNREACHABLE),
    (RateLimitError, UNREACHABLE),
    (LedgerError, UNREACHABLE),
    (WebhookOutcomeUnknownError, UNKNOWN),
)


def exit_code(error: APIMasterError) -> int:
    """The exit code for an error that ended a command."""
    if error.billed != "no":
        return UNKNOWN
    if isinstance(error, NotFoundError) and error.code in UNKNOWN_IDS:
        return USAGE
    return next((code for kind, code in _CODES if isinstance(error, kind)), FAILED)


def exit_code_for_failures(failures: tuple[ImageFailure, ...]) -> int:
    """The exit code if some of several images arrived: 0 only if all of them did."""
    if not failures:
        return OK
    return UNKNOWN if any(failure.billed != "no" for failure in failures) else FAILED
