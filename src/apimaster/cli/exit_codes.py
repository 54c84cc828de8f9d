"""Which error ends the command with which exit code.

The code that matters most is 7: something was or may have been paid for and no picture is here, so a script must not
simply run the command again. It goes by ``.billed``, whatever the class; the others say who has to act.
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
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
)
from ..results import ImageFailure

OK: Final = 0
BUG: Final = 1
USAGE: Final = 2
KEY: Final = 3
BALANCE: Final = 4
UNREACHABLE: Final = 5
FAILED: Final = 6
UNKNOWN: Final = 7
INTERRUPTED: Final = 130

_TABLE: Final[tuple[tuple[type[APIMasterError], int], ...]] = (
    (BadRequestError, USAGE),
    (AuthenticationError, KEY),
    (PermissionDeniedError, KEY),
    (InsufficientBalanceError, BALANCE),
    (BudgetExceededError, BALANCE),
    (APIConnectionError, UNREACHABLE),
    (NotFoundError, UNREACHABLE),
    (RateLimitError, UNREACHABLE),
)


def exit_code(error: APIMasterError) -> int:
    """The exit code for an error that ended a command."""
    if error.billed != "no":
        return UNKNOWN
    return next((code for kind, code in _TABLE if isinstance(error, kind)), FAILED)


def exit_code_of(failures: tuple[ImageFailure, ...]) -> int:
    """The exit code where some of several images arrived: 0 only if all of them did."""
    if not failures:
        return OK
    return UNKNOWN if any(failure.billed != "no" for failure in failures) else FAILED
