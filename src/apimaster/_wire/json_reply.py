"""The JSON of a reply, with texts that can be written again: to a ledger, to a log, to a terminal."""

from __future__ import annotations

import json
import re
from typing import Any, Final

# Halves of surrogate pairs, as a program leaves them that cuts a text in the middle of a character; and NUL, which
# PostgreSQL does not take. No valid pair is left once the JSON is read.
_ESCAPES: Final = re.compile(r"\\u(?:[dD][89a-fA-F]|0000)")
_UNWRITABLE: Final = re.compile("[\0\ud800-\udfff]")
_REPLACEMENT: Final = "\ufffd"


def parsed(body: bytes | str) -> Any:
    """The document in a body. U+FFFD stands for what is no text.

    Raises:
        ValueError: it is no JSON, or nested too deeply.
    """
    text = body if isinstance(body, str) else body.decode(json.detect_encoding(body), "replace")
    # A body of bytes can hold them only as escapes. A search of the texts would take three times as long as all else.
    suspect = _ESCAPES.search(text) or (text is body and _UNWRITABLE.search(text))
    try:
        document = json.loads(text)
        return _writable(document) if suspect else document
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _writable(value: Any) -> Any:
    if isinstance(value, str):
        return _UNWRITABLE.sub(_REPLACEMENT, value)
    if isinstance(value, list):
        return [_writable(each) for each in value]
    if isinstance(value, dict):
        return {_writable(name): _writable(each) for name, each in value.items()}
    return value
