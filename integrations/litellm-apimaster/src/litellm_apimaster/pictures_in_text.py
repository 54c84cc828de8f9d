"""Pictures within the text of a message, as chat interfaces write them: Markdown, HTML, or a bare data URI."""

from __future__ import annotations

import re
from typing import Final

_DATA_URI: Final = r"data:image/[\w.+-]{1,40};base64,[A-Za-z0-9+/_=-]+"
_TARGET: Final = rf"(?:{_DATA_URI}|https?://[^\s<>\"')]+)"
_PICTURE: Final = re.compile(
    rf"!\[[^\]]{{0,2000}}\]\(\s*<?({_TARGET})>?(?:\s+(?:\"[^\"]*\"|'[^']*'))?\s*\)"
    rf"|<img\s[^>]{{0,500}}?src\s*=\s*[\"']?({_TARGET})[^>]{{0,500}}>"
    rf"|({_DATA_URI})",
    re.IGNORECASE,
)


def take_pictures(text: str) -> tuple[str, list[str]]:
    """The text without its pictures, and their URLs and data URIs in order."""
    found = [match[1] or match[2] or match[3] for match in _PICTURE.finditer(text)]
    if not found:
        return text, []
    return _PICTURE.sub("", text).strip(), found
