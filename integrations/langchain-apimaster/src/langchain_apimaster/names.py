"""How models write the names of reference images, beside the spelling that the schema asks for.

A name is understood if it can mean one thing only: ``img_…`` and ``attachment:N`` with brackets, Markdown, quotation
marks, a full stop or the ending of a file; lists in a text, in another list, or without their marks; objects that hold
nothing but a name. What it names is looked up elsewhere (``references.py``), and whether it may be named, too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from .records import IMAGE_ID

_NUMBER: Final = r"(-?\d{1,4}|latest|last|newest)"
_ENDING: Final = r"\.(?:png|jpe?g|webp)"
# With the ending of a file, only after a colon: a folder that is opened to the model may hold an attachment_1.png.
_ATTACHMENT: Final = re.compile(
    rf"attachments?(?:(?:[:_#-]\s*#?|\s+[:#]?\s*)?{_NUMBER}|:\s*{_NUMBER}{_ENDING}|\s*\[{_NUMBER}\]|\s*\({_NUMBER}\))",
    re.IGNORECASE,
)
_ID: Final = re.compile(rf"{IMAGE_ID.pattern}(?:{_ENDING})?", re.IGNORECASE)
_LINK: Final = re.compile(r"!?\[[^\]]*\]\((.*)\)", re.DOTALL)
_AROUND: Final = " \t\r\n`'\"<>"
_MARKS: Final = f"{_AROUND}()[]{{}}*_.,;!"
_KEYS: Final = ("id", "image_id", "name", "attachment", "reference", "image", "url", "path", "file")
_MAX_DEPTH: Final = 5


def names_in(given: Any, depth: int = 0) -> list[Any]:
    """The names in what a model gave for a list of them. What is not understood stays as it is, to be refused."""
    if isinstance(given, list):
        return [name for each in given for name in (names_in(each, depth + 1) if depth < _MAX_DEPTH else [each])]
    if isinstance(given, Mapping):
        held = [given[key] for key in _KEYS if isinstance(given.get(key), str)]
        return names_in(held[0], depth + 1) if len(held) == 1 and depth < _MAX_DEPTH else [given]
    if not isinstance(given, str):
        return [given]
    text = given.strip()
    if text[:1] in ("[", "{", '"') and depth < _MAX_DEPTH:
        try:
            return names_in(json.loads(text), depth + 1)
        except (ValueError, RecursionError):
            pass
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    for between in (r"[,;\n]+", r"[,;\s]+"):
        parts = [each.strip() for each in re.split(between, bare) if each.strip(_MARKS)]
        if len(parts) > 1 and all(_is_clear(each) for each in parts):
            return parts
    if bare is not text:
        return [each for each in bare.split(",") if each.strip()]
    return [given] if text or depth > 0 else []


def plain_name(name: str) -> str:
    """A model's name of a picture without what it puts around it."""
    plain = name.strip(_AROUND)
    if link := _LINK.fullmatch(plain):
        plain = link[1].strip(_AROUND)
    if plain[:8].lower() == "sandbox:":
        plain = plain[8:]
    return _unmarked(plain) if _is_clear(plain) else plain


def attachment_in(name: str) -> str | None:
    """The number, or the word for the newest one, in the name of an attachment, in small letters; None: it is none."""
    found = _ATTACHMENT.fullmatch(name)
    return next(each for each in found.groups() if each).lower() if found else None


def _is_clear(name: str) -> bool:
    """Whether a text is an id or the name of an attachment, whatever marks are around it."""
    bare = _unmarked(name)
    return attachment_in(bare) is not None or _ID.fullmatch(bare) is not None


def _unmarked(name: str) -> str:
    """A text without the marks around it; a bracket that closes around the number of an attachment stays."""
    for each in (name, name.strip(_AROUND), name.strip(f"{_AROUND}*_.,;!"), name.strip(_MARKS)):
        if attachment_in(each) is not None:
            return each
    return name.strip(_MARKS)
