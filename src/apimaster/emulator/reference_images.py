"""The reference images of a request: decoded, identified by their bytes and measured. The emulator fetches nothing."""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
from typing import Any, Final
from urllib.parse import urlsplit

from PIL import Image

from ..catalog import MEBIBYTE, REFERENCE_MEDIA_TYPES
from .records import ReceivedReference

_OPENED: Final = ("PNG", "JPEG", "WEBP")
_FORMATS: Final = {
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",  # a phone's JPEG with a second picture behind it
    "WEBP": "image/webp",
}


class UnusableReference(ValueError):
    """A reference that the gateway refuses; the text says why."""


def read_reference(value: Any, max_bytes: int) -> tuple[ReceivedReference, bytes | None]:
    """Describe a reference, and return its bytes if the request holds them.

    Raises:
        UnusableReference: it is neither an http(s) URL nor a data URI with a usable image.
    """
    if not isinstance(value, str) or not value:
        raise UnusableReference("a URL or a data URI is required")
    if value[:5].lower() == "data:":
        return _data_uri(value, max_bytes)
    try:
        parts = urlsplit(value)
        host = parts.hostname
    except ValueError:
        host = None
    if not host or parts.scheme.lower() not in ("http", "https") or any(character.isspace() for character in value):
        raise UnusableReference(f"not an http(s) URL: {value[:80]!r}")
    return ReceivedReference("url", url=value), None


def _data_uri(value: str, max_bytes: int) -> tuple[ReceivedReference, bytes]:
    header, comma, payload = value.partition(",")
    words = header[5:].lower().split(";")
    if not comma or words[-1] != "base64":
        raise UnusableReference("a data URI must be data:image/…;base64,…")
    if words[0] not in REFERENCE_MEDIA_TYPES and words[0] != "image/jpg":
        raise UnusableReference(f"media type {words[0]!r} is not supported; use JPEG, PNG or WebP")
    try:
        data = base64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError):
        raise UnusableReference("the base64 data is broken") from None
    if len(data) > max_bytes:
        raise UnusableReference(f"the image is {len(data)} bytes, at most {max_bytes // MEBIBYTE} MB are allowed")
    try:
        with Image.open(io.BytesIO(data), formats=_OPENED) as image:
            media_type, (width, height) = _FORMATS[image.format or ""], image.size
    except Exception:  # noqa: BLE001  # a decoder may raise anything about a broken picture
        raise UnusableReference("the image could not be decoded; use JPEG, PNG or WebP") from None
    digest = hashlib.sha256(data).hexdigest()
    return ReceivedReference("data", media_type, len(data), digest, width=width, height=height), data
