"""The picture in a content block of a conversation, whichever provider's form it has.

===========================  =============================================================================
provider                     its block, without ``type`` where there is one
===========================  =============================================================================
OpenAI chat                  ``image_url: {"url"}`` (type ``image_url``), or the URL itself in ``image_url``
OpenAI responses             ``image_url``, ``file_id`` (``input_image``, ``computer_screenshot``); ``result``
                             (``image_generation_call``)
OpenAI files                 ``file: {"file_data", "filename", "file_id"}`` (``file``); the same flat (``input_file``)
LiteLLM                      the same with ``format``, a media type
OpenAI images                ``b64_json``, ``url``
Anthropic                    ``source: {"type", "media_type", "data" | "url" | "file_id"}`` (``image``)
Google                       ``inline_data: {"mime_type", "data"}``, ``file_data: {"mime_type", "file_uri"}``, also in
                             camel case; through LangChain ``mime_type, data | file_uri`` (``media``)
Bedrock                      ``image: {"format", "source": {"bytes" | "s3Location"}}``
LangChain                    ``base64 | url | file_id | id, mime_type`` (``image``, ``file``); before version 1
                             ``source_type, data | url | id, mime_type``; ``value`` (``non_standard``)
Model Context Protocol       ``data, mimeType`` (``image``); ``resource: {"blob", "mimeType"}`` (``resource``)
Vercel's AI SDK              ``image, mediaType`` (``image``); ``data | url, mediaType`` (``file``)
===========================  =============================================================================

Sources: the providers' API references, as of November 2026. A block that holds no picture is none of this module's
business. One that holds a picture which only its provider can fetch (a file id, ``gs://``, a URL of Google's
Files API) is refused by name.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping
from typing import Any, Final

from ..errors import ReferenceImageError
from .base64_text import decoded
from .provider_urls import is_for_its_provider

_PICTURES: Final = frozenset(
    {
        "image",
        "image_url",
        "input_image",
        "output_image",
        "image_file",
        "image_generation_call",
        "computer_screenshot",
    }
)
_FILES: Final = frozenset({"file", "input_file", "media", "resource", "non_standard"})
_UNTOLD: Final = frozenset({"application/octet-stream", "binary/octet-stream"})  # what a type unknown is sent as
_MEDIA_TYPES: Final = ("mime_type", "mimeType", "media_type", "mediaType")
_FILE_NAMES: Final = ("filename", "file_name", "fileName", "name")
_PICTURE_PARTS: Final = ("image_url", "imageUrl", "input_image", "image", "image_file")
_PARTS: Final = ("source", "inline_data", "inlineData", "file", "file_data", "fileData", "resource", "value", "data")
_URLS: Final = ("url", "uri", "file_uri", "fileUri", "file_url", "fileUrl")
_DATA: Final = ("base64", "b64_json", "data", "bytes", "blob", "result", "file_data", "fileData")
_IDS: Final = ("file_id", "fileId", "s3Location", "s3_location")
_REMOTE: Final = ("http://", "https://")
_ADVICE: Final = "Give the picture itself (base64 or a data URI), or a public http(s) URL."
_SHOWN: Final = 80


def picture_in(block: object, *, expected: bool = False) -> str | bytes | None:
    """The picture of a block: an http(s) URL, a data URI, or the bytes. None if the block holds no picture.

    Args:
        block: a mapping, or an object with ``model_dump``.
        expected: the block stands where nothing but a picture is meant.

    Raises:
        ReferenceImageError: it holds a picture that can't be read or fetched here, or none although one is expected.
    """
    if not isinstance(block, Mapping):
        dump = getattr(block, "model_dump", None)
        block = dump(exclude_none=True) if callable(dump) else None
    found = _read(block, expected, None, None) if isinstance(block, Mapping) else None
    if found is None and (expected or (isinstance(block, Mapping) and str(block.get("type")) in _PICTURES)):
        names = ", ".join(sorted(map(str, block))) if isinstance(block, Mapping) else type(block).__name__
        raise ReferenceImageError(f"a picture can't be found in an object with {names or 'nothing'}", advice=_ADVICE)
    return found


def _read(block: Mapping[str, Any], is_picture: bool, media_type: str | None, name: str | None) -> str | bytes | None:
    kind = str(block.get("type") or "")
    if kind and kind not in _PICTURES and kind not in _FILES and not is_picture:
        return None
    is_picture = is_picture or kind in _PICTURES
    media_type = _media_type(block) or media_type
    name = next((str(block[each]) for each in _FILE_NAMES if isinstance(block.get(each), str)), name)
    if media_type is None or media_type.lower() in _UNTOLD:
        media_type = _guessed(name) or _guessed(_path_of_url(block)) or media_type
    if media_type is not None and not is_picture:
        is_picture = media_type.lower().startswith("image/")
        if not is_picture:
            return None
    for each in (*_PICTURE_PARTS, *_PARTS):
        part = block.get(each)
        if isinstance(part, Mapping):
            found = _read(part, is_picture or each in _PICTURE_PARTS, media_type, name)
            if found is not None:
                return found
    for each in (*_PICTURE_PARTS, *_DATA, *_URLS):
        value = block.get(each)
        if value and isinstance(value, (str, bytes, bytearray, memoryview)):
            found = _content(value, is_picture or each in _PICTURE_PARTS, is_url=each in _URLS)
            if found is not None:
                return found
    ids = [block.get(each) for each in _IDS]
    ids += [block.get("id")] if block.get("source_type") == "id" or kind in ("image", "file") else []
    held = next((each for each in ids if each), None)
    if held is not None and is_picture:
        raise ReferenceImageError(f"only its provider can fetch the picture {_shown(held)}", advice=_ADVICE)
    return None


def _guessed(name: str | None) -> str | None:
    return None if name is None else mimetypes.guess_type(name)[0]


def _path_of_url(block: Mapping[str, Any]) -> str | None:
    """The path of the first URL, whose ending may tell the type."""
    url = next((block[each] for each in _URLS if isinstance(block.get(each), str)), None)
    return url.partition("?")[0].partition("#")[0] if url is not None and "://" in url[:32] else None


def _media_type(block: Mapping[str, Any]) -> str | None:
    found = next((block[each] for each in _MEDIA_TYPES if isinstance(block.get(each), str)), None)
    kind = block.get("format")
    if found is None and isinstance(kind, str):
        if "/" in kind:
            return kind
        if "source" in block:
            return f"image/{kind}"  # Bedrock's pictures; its documents and films have other parts around them
    return found


def _content(value: str | bytes | bytearray | memoryview, is_picture: bool, *, is_url: bool) -> str | bytes | None:
    if not isinstance(value, str):
        return bytes(value) if is_picture else None
    start = value.lstrip()[:16].lower()
    if start.startswith("data:"):
        return value.strip() if is_picture or start.startswith("data:image/") else None
    if not is_picture:
        return None
    if start.startswith(_REMOTE):
        if is_for_its_provider(value):
            raise ReferenceImageError(f"only its provider can fetch the picture {_shown(value)}", advice=_ADVICE)
        return value.strip()
    if is_url or "://" in value[:32]:
        raise ReferenceImageError(f"the picture {_shown(value)} can't be fetched from there", advice=_ADVICE)
    return decoded(value, "a picture in an object")


def _shown(value: object) -> str:
    text = str(value)
    return repr(text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…")
