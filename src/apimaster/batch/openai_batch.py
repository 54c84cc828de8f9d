"""Lines of OpenAI's batch files (``custom_id``, ``method``, ``url``, ``body``) as entries of a list. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from ..errors import BadRequestError
from .image_list import ACCEPTED_FIELDS, OWN_FIELDS

_FIELDS: Final = ("custom_id", "method", "url", "body")
_METHOD: Final = "POST"
_URL: Final = "/v1/images/generations"
_ASKS_FOR_NOTHING: Final[dict[str, tuple[object, ...]]] = {
    "size": ("auto", ""),
    "quality": ("auto", ""),
    "background": ("auto", ""),
    "moderation": ("auto", ""),
    "output_format": ("png", ""),
    "response_format": ("url", "b64_json", ""),  # a batch saves a picture however it arrives
    "stream": (False,),
    "partial_images": (0,),
}
"""Values of fields that the endpoint does not have, with which they change nothing."""


def is_openai_request(entry: Mapping[str, Any]) -> bool:
    """Whether an entry is a line of such a file."""
    return "custom_id" in entry or "body" in entry


def from_openai(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The entry with the fields of a list: ``custom_id`` is ``id``, ``body`` the request, ``size`` the aspect ratio.

    Raises:
        BadRequestError: it is for another address, or has a field that is not known.
    """
    unknown = [repr(str(name)[:60]) for name in entry if name not in _FIELDS]
    if unknown:
        raise BadRequestError(
            f"{', '.join(unknown)} not known in a batch file of OpenAI; accepted: {', '.join(_FIELDS)}"
        )
    method, url, body = entry.get("method", _METHOD), entry.get("url", _URL), entry.get("body")
    if not isinstance(method, str) or method.upper() != _METHOD:
        raise BadRequestError(f"method {_short(method)} is not accepted, only {_METHOD}")
    if not isinstance(url, str) or _path_of(url) != _URL:
        raise BadRequestError(f"url {_short(url)} is not accepted, only {_URL}")
    if not isinstance(body, Mapping):
        raise BadRequestError(f"body must be an object with a prompt, not {_short(body)}")
    fields = {
        name: value for name, value in body.items() if value is not None and not _asks_for_nothing(str(name), value)
    }
    size = fields.pop("size", None)
    if size is not None:
        if "aspect_ratio" in fields:
            raise BadRequestError("body has both size and aspect_ratio", advice="Leave one of them out.")
        fields["aspect_ratio"] = size
    accepted = [name for name in ACCEPTED_FIELDS if name not in OWN_FIELDS]
    others = [f"{name!s:.60} {_short(value)}" for name, value in fields.items() if name not in accepted]
    if others:
        raise BadRequestError(f"body: not accepted: {', '.join(others)}; accepted: size, {', '.join(accepted)}")
    custom_id = entry.get("custom_id")
    return fields if custom_id is None else {**fields, "id": custom_id}


def _asks_for_nothing(name: str, value: object) -> bool:
    return any(value == each and type(value) is type(each) for each in _ASKS_FOR_NOTHING.get(name, ()))


def _path_of(url: str) -> str:
    try:
        return urlsplit(url).path.rstrip("/")
    except ValueError:
        return url


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"
