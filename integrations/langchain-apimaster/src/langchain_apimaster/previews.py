"""``show_image``: a small copy of a picture beside the text, for chat models that take images.

A chat model's profile says whether it takes images in tool messages. If it does not say so, ``auto`` sends none,
because an image block would make the next request fail.
"""

from __future__ import annotations

import base64
import io
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

_log = logging.getLogger("langchain_apimaster")

SIDE: Final = 512
"""Pixels of the longer side of the copy. That is enough to judge a picture, and some 50 kB in every checkpoint."""


def takes_images(chat_model: Any) -> bool:
    """Whether ``chat_model`` (with or without tools bound to it) says that it takes images in tool messages."""
    while (inner := getattr(chat_model, "bound", None)) is not None:
        chat_model = inner
    profile = getattr(chat_model, "profile", None)
    return isinstance(profile, dict) and profile.get("image_tool_message") is True


def require_pillow() -> None:
    """Check that Pillow is there when a tool is made, not when its first picture is paid for.

    Raises:
        ImportError: Pillow is missing.
    """
    try:
        import PIL.Image  # noqa: F401  # an extra
    except ImportError:
        raise ImportError('show_image needs Pillow: pip install "langchain-apimaster[preview]"') from None


def preview_block(content: Path | bytes) -> dict[str, Any]:
    """A standard image content block with a copy of the picture. Blocks."""
    from PIL import Image  # an extra

    with Image.open(content if isinstance(content, Path) else io.BytesIO(content)) as picture:
        picture.draft("RGB", (SIDE, SIDE))
        picture.thumbnail((SIDE, SIDE))
        out = io.BytesIO()
        picture.convert("RGB").save(out, format="JPEG", quality=80)
    return {"type": "image", "base64": base64.b64encode(out.getvalue()).decode(), "mime_type": "image/jpeg"}


def preview_or_reason(read: Callable[[], Path | bytes]) -> dict[str, Any]:
    """A content block with a copy of the picture that ``read`` gives; a text, if no copy can be made. Blocks.

    The picture is paid for and stored. That nobody can look at it here must not become the failure of the call.
    """
    try:
        return preview_block(read())
    except Exception as error:  # noqa: BLE001  # a decoder may raise anything about a picture
        _log.warning("no preview of a picture: %s", error)
        return {"type": "text", "text": f"(This picture can't be shown here: {error})"}
