"""Reference images as they arrive in a body: decoded, told by their bytes, measured. Nothing is fetched."""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
from typing import Any, Final
from urllib.parse import urlsplit

from PIL import Image, UnidentifiedImageError

from ..catalog import MEBIBYTE, REFERENCE_MEDIA_TYPES
from .records import ReferenceSeen

_FORMATS: Final = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}


class Unusable(ValueError):
    """A reference that the gateway does not take; the text says why."""


def look_at(value: Any, max_bytes: int) -> tuple[ReferenceSeen, bytes | None]:
    """What a reference is, and its bytes if they came along.

    Raises:
        Unusable: no http(s) URL and no usable data URI.
    """
    if not isinstance(value, str) or not value:
        raise Unusable("a URL or a data URI is required")
    if value[:5].lower() == "data:":
        return _data_uri(value, max_bytes)
    try:
        parts = urlsplit(value)
        host = parts.hostname
    except ValueError:
        host = None
    if not host or parts.scheme.lower() not in ("http", "https") or any(mark.isspace() for mark in value):
        raise Unusable(f"not an http(s) URL: {value[:80]!r}")
    return ReferenceSeen("url", url=value), None


def _data_uri(value: str, max_bytes: int) -> tuple[ReferenceSeen, bytes]:
    header, comma, payload = value.partition(",")
    words = header[5:].lower().split(";")
    if not comma or words[-1] != "base64":
        raise Unusable("a data URI must be data:image/…;base64,…")
    if words[0] not in REFERENCE_MEDIA_TYPES and words[0] != "image/jpg":
        raise Unusable(f"media type {words[0]!r} is not supported; use JPEG, PNG or WebP")
    try:
        data = base64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError):
        raise Unusable("the base64 data is broken") from None
    if len(data) > max_bytes:
        raise Unusable(f"the image is {len(data)} bytes, at most {max_bytes // MEBIBYTE} MB are allowed")
    try:
        with Image.open(io.BytesIO(data), formats=tuple(_FORMATS)) as image:
            media_type, (width, height) = _FORMATS[image.format or ""], image.size
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, KeyError, Image.DecompressionBombError):
        raise Unusable("the image could not be decoded; use JPEG, PNG or WebP") from None
    digest = hashlib.sha256(data).hexdigest()
    return ReferenceSeen("data", media_type, len(data), digest, width=width, height=height), data
