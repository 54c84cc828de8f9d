"""The form of an edit: the fields of a generation as texts, and its pictures as uploaded files.

A picture becomes a data URI, so that what follows reads an edit like a generation with references.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncGenerator
from typing import Any, Final

import python_multipart  # noqa: F401  # Starlette needs it, and says so only when a form comes in
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from .validation import Refusal

_IMAGES: Final = ("image", "image[]", "image_urls", "image_urls[]")
_MASKS: Final = ("mask", "mask_url")
_JSON: Final = frozenset({"n", "google_search", "google_image_search", "notifications"})
_MOST_FILES: Final = 64
_LARGEST_TEXT: Final = 64 * 1024 * 1024  # a data URI may be in a field


def is_form(content_type: str) -> bool:
    """Whether a body of this type is a form with files."""
    return content_type.strip().lower().startswith("multipart/form-data")


async def read_form(raw: bytes, headers: Headers) -> dict[str, Any]:
    """The fields of a form, as the JSON of a generation has them.

    Raises:
        Refusal: 400, it can't be read, or has several masks.
    """

    async def pieces() -> AsyncGenerator[bytes, None]:
        yield raw

    parser = MultiPartParser(
        headers, pieces(), max_files=_MOST_FILES, max_fields=_MOST_FILES, max_part_size=_LARGEST_TEXT
    )
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError) as error:
        raise Refusal(400, f"invalid request body: {error}") from None
    try:
        return await _document_of(form)
    finally:
        await form.close()


async def _document_of(form: FormData) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for name, value in form.multi_items():
        text = await _data_uri(value) if isinstance(value, UploadFile) else value
        if name in _IMAGES:
            document.setdefault("image_urls", []).append(text)
        elif name in _MASKS:
            if "mask_url" in document:
                raise Refusal(400, "only one mask is allowed")
            document["mask_url"] = text
        else:
            document[name] = _read_json(text) if name in _JSON else text
    return document


async def _data_uri(file: UploadFile) -> str:
    # The check of references reads the kind from the bytes, so any accepted one will do here.
    return f"data:image/png;base64,{base64.b64encode(await file.read()).decode()}"


def _read_json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text  # the checks refuse it by name
