"""What the values of LiteLLM's parameters mean, each by itself. Forms write all of them as texts."""

from __future__ import annotations

from typing import Any, Final, cast, get_args

from apimaster.errors import BadRequestError
from apimaster.request import ReferencesBy

MAX_N: Final = 10

ONLY_ON_REQUEST: Final = "only_image_requests"
"""A deployment's parameter: in a conversation, answer only requests whose ``modalities`` hold ``image``."""
URL: Final = "url"
BASE64: Final = "b64_json"

_RESPONSE_FORMATS: Final = (URL, BASE64)
_BOOLEAN_TEXTS: Final = {"true": True, "1": True, "false": False, "0": False}


def is_nothing(value: Any) -> bool:
    """Whether a parameter's value asks for nothing: None, or an empty field of a form."""
    return value is None or (isinstance(value, str) and not value.strip())


def count(value: Any) -> int:
    """``n``, from 1 to 10.

    Raises:
        BadRequestError: it is something else.
    """
    # The values of a multipart form are texts.
    number = int(value) if isinstance(value, str) and value.strip().isdecimal() else value
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= MAX_N:
        raise BadRequestError(f"n must be a whole number from 1 to {MAX_N}, not {value!r}")
    return number


def boolean(name: str, value: Any) -> bool:
    """True or false.

    Raises:
        BadRequestError: it is something else.
    """
    found = value if isinstance(value, bool) else _BOOLEAN_TEXTS.get(str(value).strip().lower())
    if found is None:
        raise BadRequestError(f"{name} must be true or false, not {value!r}")
    return found


def response_format(value: Any) -> str:
    """``url`` or ``b64_json``.

    Raises:
        BadRequestError: it is something else.
    """
    if value not in _RESPONSE_FORMATS:
        raise BadRequestError(f"response_format {value!r} is not accepted; accepted: {', '.join(_RESPONSE_FORMATS)}")
    return str(value)


def references_by(value: Any) -> ReferencesBy:
    """``auto``, ``inline`` or ``upload``.

    Raises:
        BadRequestError: it is something else.
    """
    accepted = get_args(ReferencesBy)
    if value not in accepted:
        raise BadRequestError(f"references_by {value!r} is not accepted; accepted: {', '.join(accepted)}")
    return cast("ReferencesBy", value)
