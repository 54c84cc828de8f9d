"""Pictures that came in through LiteLLM, in all its forms, as references for the core.

An OpenAI client sends files; LiteLLM hands them over as bytes, open files, ``(name, content, type)`` tuples, paths or
URLs, one or a list of them. Whoever calls LiteLLM's functions in this process may name a file of this machine.
Whoever sends a request to a proxy may not, and nobody may in ``image_urls`` or in a conversation, whose text may come
from a model or a document.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Mapping
from typing import Any, Final

from apimaster.catalog import MAX_REFERENCE_BYTES
from apimaster.errors import ReferenceImageError

_REMOTE: Final = ("http://", "https://", "data:")
_SHOWN: Final = 60


def files(value: Any, *, local_paths: bool) -> list[Any]:
    """References from the ``image`` argument of an edit.

    Args:
        value: None, one picture or a list of them.
        local_paths: whether a text or a path object may name a file of this machine.

    Raises:
        ReferenceImageError: a local path where none is allowed.
    """
    if value is None:
        return []
    many = value if isinstance(value, list) else [value]
    return [_one(each, local_paths) for each in many if each is not None]


def urls(value: Any) -> list[str]:
    """References from ``image_urls``: public URLs or data URIs, one or several, and nothing else.

    Raises:
        ReferenceImageError: an entry is something else; a path most likely.
    """
    if value is None:
        return []
    if isinstance(value, str):
        value = _listed(value)
    if not isinstance(value, Iterable) or isinstance(value, (bytes, Mapping)):
        raise ReferenceImageError(f"image_urls must be a list of URLs, not {_short(value)}")
    return [_remote(each) for each in value]


def _listed(text: str) -> Any:
    """A list that came as JSON text, out of a form; any other text is one entry."""
    if text.lstrip().startswith("["):
        with contextlib.suppress(ValueError):
            return json.loads(text)
    return [text]


def _one(value: Any, local_paths: bool) -> Any:
    if isinstance(value, tuple):
        # (file name, content[, media type[, headers]]): the bytes say what it is, so the rest is not needed.
        if len(value) < 2:
            raise ReferenceImageError("an image given as a tuple must be (file name, content, …)")
        value = value[1]
    if isinstance(value, (str, os.PathLike)) and not local_paths:
        return _remote(value)
    if callable(getattr(value, "read", None)):
        return _content(value)
    return value


def _content(file: Any) -> Any:
    """The bytes of an open file, which is left where it stood: a Router's next attempt reads it again."""
    try:
        start = file.tell()
    except (AttributeError, OSError, ValueError):
        return file
    try:
        # One byte more than is allowed is enough for the core to refuse it.
        data = file.read(MAX_REFERENCE_BYTES + 1)
        file.seek(start)
    except (OSError, ValueError) as wrong:
        raise ReferenceImageError(f"an image can't be read: {wrong}") from wrong
    return data if isinstance(data, bytes) else file


def _remote(value: Any) -> str:
    if isinstance(value, str) and value[:8].lower().startswith(_REMOTE):
        return value
    raise ReferenceImageError(
        f"{_short(value)} is not accepted as a picture here: give an http(s) URL or a data: URI, or upload the file"
    )


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
