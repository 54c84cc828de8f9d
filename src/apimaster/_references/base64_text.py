"""Base64 as people and programs write it: with line breaks, url-safe, or without its padding."""

from __future__ import annotations

import base64
import binascii

from ..errors import ReferenceImageError


def decoded(text: str, what: str) -> bytes:
    """The bytes of a base64 text.

    Args:
        text: with the standard or the url-safe alphabet; white space and missing padding don't matter.
        what: what it is, for the message.

    Raises:
        ReferenceImageError: it is not base64.
    """
    plain = "".join(text.split()).translate({ord("-"): "+", ord("_"): "/"}).rstrip("=")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ReferenceImageError(f"{what} holds something that is not base64") from None
