"""The upload of a reference image in the endpoint's field names: picture → call, reply → public URL."""

from __future__ import annotations

import secrets
from typing import Final
from urllib.parse import urlsplit

from .._flows.operations import Call, Reply
from .._references.checked import CheckedReference
from .messages import Unreadable, excerpt, object_in
from .multipart_body import MultipartBody

UPLOAD_PATH: Final = "/uploads/images"

_ENDINGS: Final = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}


def upload_call(picture: CheckedReference) -> Call:
    """The call that uploads a local picture. The name of its file stays here: it may tell whose it is."""
    name = f"reference.{_ENDINGS.get(picture.media_type, 'img')}"
    boundary = secrets.token_hex(16)
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
        f"Content-Type: {picture.media_type}\r\n\r\n"
    )
    body = MultipartBody(head.encode(), picture, f"\r\n--{boundary}--\r\n".encode())
    return Call("POST", UPLOAD_PATH, body=body, content_type=f"multipart/form-data; boundary={boundary}")


def read_upload(reply: Reply) -> str:
    """The public URL in the reply to an upload.

    Raises:
        Unreadable: there is none.
    """
    document = object_in(reply)
    inner = document.get("data")
    for found in (document, inner if isinstance(inner, dict) else {}):
        url = found.get("url")
        if isinstance(url, str) and _is_public(url):
            return url
    raise Unreadable(f"no URL in {excerpt(reply)}")


def _is_public(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return False
    return bool(host) and parts.scheme in ("http", "https") and url.isprintable() and " " not in url
