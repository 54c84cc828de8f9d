"""References for the core from the image arguments of LiteLLM, in all their forms.

An OpenAI client uploads files. LiteLLM passes them on as bytes, open files, ``(name, content, type)`` tuples, paths or
URLs, one or a list of them. A caller of LiteLLM's functions in this process may name a local file. A client of a proxy
may not, and neither may ``image_urls`` or a conversation, whose text may come from a model or a document.
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
_MAX_SHOWN: Final = 60


def from_image(value: Any, *, local_paths: bool) -> list[Any]:
    """References from the ``image`` argument of an edit.

    Args:
        value: None, one image or a list of them.
        local_paths: whether a text or a path object may name a local file.

    Raises:
        ReferenceImageError: a local path where none is allowed.
    """
    if value is None:
        return []
    images = value if isinstance(value, list) else [value]
    return [_reference(image, local_paths) for image in images if image is not None]


def from_urls(value: Any) -> list[str]:
    """References from ``image_urls``: public URLs or data URIs, one or several, and nothing else.

    Raises:
        ReferenceImageError: an entry is something else, such as a path.
    """
    if value is None:
        return []
    if isinstance(value, str):
        value = _list_from_text(value)
    if not isinstance(value, Iterable) or isinstance(value, (bytes, Mapping)):
        raise ReferenceImageError(f"image_urls must be a list of URLs, not {_shortened(value)}")
    return [_url(each) for each in value]


def _list_from_text(text: str) -> Any:
    """The list in a JSON text, which is how a form carries one; any other text is one entry."""
    if text.lstrip().startswith("["):
        with contextlib.suppress(ValueError):
            return json.loads(text)
    return [text]


def _reference(value: Any, local_paths: bool) -> Any:
    if isinstance(value, tuple):
        # (file name, content[, media type[, headers]]): the content alone tells its type.
        if len(value) < 2:
            raise ReferenceImageError("an image given as a tuple must be (file name, content, …)")
        value = value[1]
    if isinstance(value, (str, os.PathLike)) and not local_paths:
        return _url(value)
    if callable(getattr(value, "read", None)):
        return _file_content(value)
    return value


def _file_content(file: Any) -> Any:
    """The bytes of an open file. Its position stays where it was, since a Router's next attempt reads it again."""
    try:
        start = file.tell()
    except (AttributeError, OSError, ValueError):
        return file
    try:
        # One byte beyond the limit is enough for the core to refuse the file.
        data = file.read(MAX_REFERENCE_BYTES + 1)
        file.seek(start)
    except (OSError, ValueError) as error:
        raise ReferenceImageError(f"an image can't be read: {error}") from error
    return data if isinstance(data, bytes) else file


def _url(value: Any) -> str:
    if isinstance(value, str) and value[:8].lower().startswith(_REMOTE):
        return value
    raise ReferenceImageError(
        f"{_shortened(value)} is not accepted as a reference image here",
        advice="Give an http(s) URL or a data: URI, or upload the file.",
    )


def _shortened(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"
