"""What callers may hand to a ledger. Both backends refuse the same, before anything is sent or written.

Each function gives the value in the form in which the ledger uses it. Each raises ``BadRequestError`` for everything
else, whatever its type, with what is accepted.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from ..errors import BadRequestError
from ..request import text_fault
from ..results import Task
from .states import STATES, PurchaseState

LONGEST_KEY: Final = 512
"""Characters of an idempotency key."""
LONGEST_NAME: Final = 2048
"""Bytes of a name in UTF-8. An index of PostgreSQL holds 2,704; the longest key has 2,048."""
LARGEST_NUMBER: Final = 2**31 - 1
"""PostgreSQL keeps counts in 32 bits."""
LARGEST_AMOUNT: Final = 10**12
"""US dollars."""
LONGEST_TIME: Final = 1e9
"""Seconds. Waits of threads end at some more."""
_DECIMALS: Final = 100  # of an amount: the exact value of a float has up to 55, unless it is tiny


def checked_key(key: str) -> str:
    """An idempotency key for a purchase."""
    if not isinstance(key, str) or not key.strip() or len(key) > LONGEST_KEY or text_fault(key):
        raise BadRequestError(f"idempotency_key must be a text of 1 to {LONGEST_KEY} characters, not {_shown(key)}")
    return str.__str__(key)


def checked_keys(keys: Sequence[str]) -> tuple[str, ...]:
    """The keys of ``client.settle``."""
    for key in keys:
        if isinstance(key, (list, tuple, set, frozenset)):
            raise BadRequestError(
                f"settle takes keys one by one, not {_shown(key)}", advice="Write client.settle(*keys)."
            )
    return tuple(text("each key", key) for key in keys)


def text(name: str, value: str) -> str:
    """A key that is looked for, the name of a budget or of a note, or the id of a task."""
    if not isinstance(value, str) or not value.strip():
        raise BadRequestError(f"{name} must be a text that is not empty, not {_shown(value)}")
    checked = any_text(name, value)
    if len(checked.encode()) > LONGEST_NAME:
        raise BadRequestError(f"{name} must be a text of at most {LONGEST_NAME:,} bytes, not {_shown(value)}")
    return checked


def any_text(name: str, value: str) -> str:
    """A text of any length, which may be empty."""
    if not isinstance(value, str):
        raise BadRequestError(f"{name} must be a text, not {_shown(value)}")
    if fault := text_fault(value):
        raise BadRequestError(f"{name} {fault}", advice="Take the character out.")
    return str.__str__(value)  # an enum of texts would be written in other ways


def whole(name: str, value: int, *, least: int = 0) -> int:
    """A count, or the position of an image."""
    try:
        number = least - 1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = least - 1
    if not least <= number <= LARGEST_NUMBER:
        raise BadRequestError(f"{name} must be a whole number, {least} to {LARGEST_NUMBER:,}, not {_shown(value)}")
    return number


def flag(name: str, value: bool) -> bool:
    """Yes or no. A text such as ``"no"`` counts as true in Python, so it is refused."""
    if not isinstance(value, bool):
        raise BadRequestError(f"{name} must be True or False, not {_shown(value)}")
    return value


def dollars(name: str, value: Decimal | str | float) -> Decimal:
    """An amount of US dollars, exact: a float counts as it is written."""
    try:
        amount = Decimal("NaN") if isinstance(value, bool) else Decimal(str(value))
    except (ArithmeticError, ValueError):  # ValueError: an integer of more than 4,300 digits
        amount = Decimal("NaN")
    if not amount.is_finite() or not 0 <= amount <= LARGEST_AMOUNT:
        raise BadRequestError(
            f"{name} must be an amount of US dollars, 0 to {LARGEST_AMOUNT:,}, not {_shown(value)}",
        )
    if amount and -int(amount.as_tuple().exponent) > _DECIMALS:
        raise BadRequestError(f"{name} must have at most {_DECIMALS} decimals, not {_shown(value)}")
    return amount.copy_abs() if amount else Decimal(0)


def seconds(name: str, value: float, *, above_zero: bool = False, most: float = math.inf) -> float:
    """A span of time."""
    number = _real(value)
    if not 0 <= number <= most or math.isinf(number) or (above_zero and not number):
        least = "above 0" if above_zero else "0 or more"
        limit = "" if math.isinf(most) else f" and at most {most:,.0f}"
        raise BadRequestError(f"{name} must be a number of seconds, {least}{limit}, not {_shown(value)}")
    return number


def moment(name: str, value: datetime | float) -> float:
    """A time, as unix seconds."""
    number = _timestamp(value) if isinstance(value, datetime) else _real(value)
    if not math.isfinite(number):
        raise BadRequestError(f"{name} must be a datetime, or unix seconds, not {_shown(value)}")
    return number


def end(name: str, value: float | timedelta | datetime) -> Callable[[float], float]:
    """A function from the present to the time that an age, or a time, stands for; both are unix seconds."""
    if isinstance(value, datetime):
        time = _timestamp(value)
        age = 0.0
    else:
        time = 0.0
        age = value.total_seconds() if isinstance(value, timedelta) else _real(value)
    if not math.isfinite(time) or not 0 <= age < math.inf:
        raise BadRequestError(f"{name} must be seconds, 0 or more, a timedelta, or a datetime, not {_shown(value)}")
    return (lambda _: time) if isinstance(value, datetime) else (lambda now: now - age)


def start(name: str, value: float | datetime | timedelta) -> Callable[[float], float]:
    """A function from the present to the time that a time, or a span back from now, stands for; both unix seconds."""
    if isinstance(value, timedelta):
        span = value.total_seconds()
        if span >= 0:
            return lambda now: now - span
    else:
        time = _timestamp(value) if isinstance(value, datetime) else _real(value)
        if 0 <= time < math.inf:
            return lambda _: time
    raise BadRequestError(
        f"{name} must be unix seconds, a datetime, or a timedelta of 0 or more back from now, not {_shown(value)}"
    )


def states(value: PurchaseState | Iterable[PurchaseState] | None) -> tuple[PurchaseState, ...] | None:
    """A state, or several; None: all."""
    if value is None:
        return None
    if not isinstance(value, str) and not isinstance(value, Iterable):
        raise _no_state(value)
    given = (value,) if isinstance(value, str) else tuple(value)
    for each in given:
        if not isinstance(each, str) or each not in STATES:
            raise _no_state(each)
    return tuple(state for state in STATES if state in given)


def task(name: str, value: Task | str) -> Task | str:
    """A task that somebody has found, or its id."""
    found = value.id if isinstance(value, Task) else value
    if not isinstance(found, str) or len(found.split()) != 1:
        raise BadRequestError(f"{name} must be a task or its id, not {_shown(value)}")
    checked = text(name, found)
    return value if isinstance(value, Task) else checked.strip()


def _no_state(value: object) -> BadRequestError:
    return BadRequestError(f"state {_shown(value)} is not known; accepted: {', '.join(STATES)}")


def _timestamp(value: datetime) -> float:
    """Unix seconds; NaN: too far away. A time without a zone is this machine's."""
    try:
        return value.timestamp()
    except (OverflowError, ValueError, OSError):
        return math.nan


def _real(value: float) -> float:
    """A number as a float; NaN: it is none, or too large."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.nan


def _shown(value: object) -> str:
    """A value in a message, which may be long."""
    try:
        written = repr(value)
    except ValueError:  # Python writes no integer of more than 4,300 digits
        written = f"a value of the type {type(value).__name__}"
    return written if len(written) <= 80 else f"{written[:77]}…"
