"""What callers pass to the calls about webhooks, checked before anything is sent: ids, limits, words.

An id becomes a part of a path. Quoting alone does not make it safe: ``..`` stays as it is, and some proxies read
``%2F`` as a slash. So an id that could be anything but a name in a folder is refused.
"""

from __future__ import annotations

import re
from typing import Final

from ..errors import BadRequestError

MOST_EVENTS: Final = 100
_ID: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:~-]{0,199}")
_LONGEST_SHOWN: Final = 80
_LONGEST_MODEL: Final = 200
_LARGEST_OFFSET: Final = 2**53
_WORD: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")


def shown(value: object) -> str:
    """A value as a message shows it: its beginning if it is text, else its type."""
    if not isinstance(value, str):
        return f"of the type {type(value).__name__}" if value is not None else "None"
    return repr(value) if len(value) <= _LONGEST_SHOWN else f"{value[:_LONGEST_SHOWN]!r}… ({len(value)} characters)"


def checked_id(name: str, value: object) -> str:
    """An id, without the blanks around it.

    Raises:
        BadRequestError: it can't be one.
    """
    text = value.strip() if isinstance(value, str) else ""
    if not _ID.fullmatch(text):
        raise BadRequestError(f"{name} is {shown(value)}; accepted: an id of up to 200 letters, digits, _ and -")
    return text


def checked_limit(value: object) -> int:
    """How many rows to list.

    Raises:
        BadRequestError: it is not a whole number from 1 to 100.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_EVENTS:
        raise BadRequestError(f"limit is {_number(value)}; accepted: a whole number from 1 to {MOST_EVENTS}")
    return value


def checked_offset(value: object) -> int:
    """How many rows to leave out.

    Raises:
        BadRequestError: it is not a whole number, 0 or more.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _LARGEST_OFFSET:
        raise BadRequestError(f"offset is {_number(value)}; accepted: a whole number, 0 or more")
    return value


def checked_status(value: object) -> str | None:
    """A word for a state; which words the gateway knows is not documented.

    Raises:
        BadRequestError: it is no word.
    """
    if value is None:
        return None
    text = value.strip() if isinstance(value, str) else ""
    if not _WORD.fullmatch(text):
        raise BadRequestError(f"status is {shown(value)}; accepted: one word, such as pending or delivered")
    return text


def checked_model(value: object) -> str:
    """A model id, without the blanks around it.

    Raises:
        BadRequestError: it can't be one.
    """
    text = value.strip() if isinstance(value, str) else ""
    if not text or len(text) > _LONGEST_MODEL or not text.isprintable():
        raise BadRequestError(f"model is {shown(value)}; accepted: a model id such as gemini-3.1-flash-image")
    return text


def _number(value: object) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < _LARGEST_OFFSET:
        return str(value)
    return "too large" if isinstance(value, (int, float)) and not isinstance(value, bool) else shown(value)
