"""From the bytes of a list or of a prompt file to its text: UTF-8 or UTF-16, and an error for what is no text."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Final

from ..errors import BadRequestError

STDIN: Final = "-"
MAX_BYTES: Final = 512 * 1024 * 1024
_BYTE_ORDER_MARKS: Final = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\x00\x00", "utf-32"),  # before UTF-16, whose mark it begins with
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_NO_TEXT: Final = (
    (b"PK\x03\x04", "a zip file or a spreadsheet (Excel, Numbers, LibreOffice)", "Save the table as CSV."),
    (b"\xd0\xcf\x11\xe0", "an old Office file", "Save the table as CSV."),
    (b"\x89PNG", "a picture", "Name the list; a reference image is given with --ref."),
    (b"\xff\xd8\xff", "a picture", "Name the list; a reference image is given with --ref."),
    (b"GIF8", "a picture", "Name the list; a reference image is given with --ref."),
    (b"%PDF", "a PDF", "Save it as text."),
    (b"{\\rtf", "a rich text file (RTF)", "Save it as plain text."),
    (b"\x1f\x8b", "a compressed file", "Unpack it first."),
    (b"SQLite format 3", "a SQLite database", "`apimaster batch resume` takes the folder that it lies in."),
)
_CONTROL: Final = re.compile("[\x00-\x08\x0e-\x1f\x7f]")
_SAVE: Final = "Save it as UTF-8 (in a spreadsheet: CSV UTF-8)."


def name_of(source: str) -> str:
    """What errors call a file, or stdin (``-``)."""
    return "stdin" if source == STDIN else source


def read_text(source: str) -> str:
    """The text of a file, or of stdin (``-``). Blocking.

    Raises:
        BadRequestError: it can't be read, is too large, or is no text; the error names the line.
    """
    name = name_of(source)
    try:
        if source == STDIN:
            data = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with Path(source).open("rb") as file:
                data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL, or a closed stdin
        raise BadRequestError(f"{name} can't be read: {getattr(error, 'strerror', None) or error}") from None
    if len(data) > MAX_BYTES:
        raise BadRequestError(f"{name} is larger than {MAX_BYTES // 1024 // 1024} MB", advice="Split it.")
    return decoded(data, name)


def decoded(data: bytes, name: str) -> str:
    """The text of these bytes. Pure.

    Raises:
        BadRequestError: they are no text.
    """
    for magic, kind, advice in _NO_TEXT:
        if data.startswith(magic):
            raise BadRequestError(f"{name} is {kind}, not a text", advice=advice)
    encoding = _encoding(data)
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].decode(encoding, "ignore").count("\n") + 1
        raise BadRequestError(
            f"{name}, line {line}: not {encoding.removesuffix('-sig').upper()} text", advice=_SAVE
        ) from None
    text = text.removeprefix("\ufeff").removesuffix("\x1a")  # DOS programs mark the end with Ctrl-Z
    found = _CONTROL.search(text)
    if found is not None:
        start = text.rfind("\n", 0, found.start()) + 1
        line = text.count("\n", 0, start) + 1
        code = ord(found.group())
        kind = "a NUL" if code == 0 else f"the control character U+{code:04X}"
        raise BadRequestError(
            f"{name}, line {line}, column {found.start() - start + 1}: {kind}, which is no text", advice=_SAVE
        )
    return text


def _encoding(data: bytes) -> str:
    for mark, encoding in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return encoding
    # Every second byte of UTF-16 is a NUL in Latin letters, and that of blanks and line ends is one in any script.
    even, odd = data[::2].count(0), data[1::2].count(0)
    nuls = even + odd
    if nuls and not len(data) % 2 and max(even, odd) >= 0.9 * nuls and (nuls >= len(data) / 4 or not _is_utf8(data)):
        return "utf-16-le" if odd > even else "utf-16-be"
    return "utf-8"


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
