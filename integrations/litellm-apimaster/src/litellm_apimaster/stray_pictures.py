"""Pictures in parameters that nobody draws from: found at any depth, and refused by name.

The gateway ignores what it does not know. A picture in there would be left out, and the call charged for a drawing from
its text alone. A conversation is left out in the same way, with or without pictures.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Set
from typing import Any, Final

from apimaster.adapters import picture_in
from apimaster.errors import BadRequestError, ReferenceImageError

from .reference_images import IMAGE, IMAGE_URLS, is_reference_name

CONVERSATIONS: Final = ("messages", "contents", "input")
"""Parameters of other APIs in which clients send a conversation."""

# LiteLLM's names and its operators', which may hold the address of anything, also within ``extra_body``.
_NOTES: Final = frozenset({"metadata", "litellm_metadata", "proxy_server_request", "tags", "user"})
_REMOTE: Final = ("http://", "https://", "data:")
_NAMED_LIKE_AN_IMAGE: Final = re.compile(r"image|img|picture|photo", re.IGNORECASE)
_URL_OF_AN_IMAGE: Final = re.compile(r"https?://[^?#]+\.(?:png|jpe?g|webp|gif|avif|heic)(?:[?#]|$)", re.IGNORECASE)
# How the base64 of a PNG, a JPEG, a GIF or a WebP begins.
_BASE64_OF_AN_IMAGE: Final = re.compile(r"(?:iVBORw0KGgo|/9j/|R0lGOD|UklGR)[A-Za-z0-9+/_=\s-]{48}")
# Within an object, such a name says nothing about what it holds; the name of the object does.
_SAYS_NOTHING: Final = frozenset({"url", "uri", "href", "src", "link", "data", "source", "value", "file", "content"})
_DEEPEST: Final = 40
_LONGEST_URL: Final = 8192
_ADVICE: Final = f"Hand pictures over as {IMAGE} or {IMAGE_URLS}: http(s) URLs, data URIs or uploads."


def refuse_pictures(parameters: Mapping[str, Any]) -> None:
    """Refuse parameters that look like pictures or hold some, and that nobody knows.

    Raises:
        BadRequestError: there is one, or a parameter is nested too deeply to be looked through.
    """
    found = sorted(name for name, value in parameters.items() if name not in _NOTES and holds_pictures(name, value))
    if found:
        raise BadRequestError(f"{', '.join(found)}: a picture is not accepted under this name", advice=_ADVICE)


def refuse_lost_pictures(sent: object) -> None:
    """Refuse what a client of the proxy sent and what did not get here: the proxy reads ``messages`` for their text.

    Args:
        sent: the body of the client's request, if there is one.

    Raises:
        BadRequestError: a conversation in it holds a picture.
    """
    if isinstance(sent, Mapping):
        refuse_conversations({name: sent[name] for name in CONVERSATIONS if holds_pictures(name, sent.get(name))})


def refuse_conversations(parameters: Mapping[str, Any]) -> None:
    """Refuse a conversation in a call for images, which draws ``prompt`` and nothing else.

    Raises:
        BadRequestError: there is one.
    """
    found = sorted(name for name in CONVERSATIONS if parameters.get(name))
    if found:
        raise BadRequestError(
            f"{', '.join(found)}: a conversation is not accepted in a call for images",
            advice=f"Send the text as prompt and the pictures as {IMAGE} or {IMAGE_URLS}, or call completion.",
        )


def holds_pictures(name: str, value: Any) -> bool:
    """Whether a parameter looks like a picture, or holds one in lists and objects of any depth.

    Raises:
        BadRequestError: it is nested too deeply to be looked through, or holds itself.
    """
    level = [(name, value)]
    for _ in range(_DEEPEST):
        if any(_is_picture(each, within) for each, within in level):
            return True
        # Level by level, and each object once in a level: what holds itself ends, and so does what is shared.
        inner = {(each, id(within)): (each, within) for pair in level for each, within in _members(*pair)}
        if not inner:
            return False
        level = list(inner.values())
    raise BadRequestError(f"{name} is nested too deeply: {_DEEPEST} levels at most")


def _members(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """What a value holds, each under the name that says what it is."""
    if isinstance(value, str):
        read = _from_json(value)
        if read is not None:
            yield name, read
    elif not isinstance(value, type) and callable(dump := getattr(value, "model_dump", None)):
        yield name, dump()
    elif isinstance(value, Mapping):
        for key, member in value.items():
            inherits = str(key).lower() in _SAYS_NOTHING or is_reference_name(name)
            yield (name if inherits else str(key)), member
    elif isinstance(value, (list, tuple, Set)):
        for member in value:
            yield name, member


def _from_json(text: str) -> Any:
    """The list or object in a text, as forms carry them; None for any other text."""
    if text.lstrip()[:1] in ("[", "{"):
        with contextlib.suppress(ValueError, RecursionError):
            return json.loads(text)
    return None


def _is_picture(name: str, value: Any) -> bool:
    if isinstance(value, str):
        return _is_picture_text(name, value)
    if isinstance(value, Mapping):
        try:
            return picture_in(value) is not None
        except ReferenceImageError:
            return True
        except RecursionError:  # it holds itself, which ``holds_pictures`` finds
            return False
    if isinstance(value, (bytes, bytearray, memoryview, os.PathLike)):
        return True
    is_file = callable(getattr(value, "read", None)) or callable(getattr(value, "save", None))
    return is_file or hasattr(value, "__array_interface__")


def _is_picture_text(name: str, text: str) -> bool:
    # A picture shows in the first characters. Texts can be long, so no more of them is looked at.
    start = text[:_LONGEST_URL].strip()
    lowered = start[:16].lower()
    return (
        lowered.startswith("data:image/")
        or (lowered.startswith(_REMOTE) and _NAMED_LIKE_AN_IMAGE.search(name) is not None)
        or _URL_OF_AN_IMAGE.match(start) is not None
        or _BASE64_OF_AN_IMAGE.match(start) is not None
    )
