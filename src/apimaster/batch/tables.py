"""Lists as CSV: a header that names fields, one row per line, cells turned into what their field takes. Pure."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any, Final

from .lines import ACCEPTED, Fault

_BOOLEANS: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_BOOLEAN_FIELDS: Final = frozenset({"google_search", "google_image_search"})
DELIMITERS: Final = (",", ";", "\t")


def rows(text: str) -> Iterator[tuple[int, Any]]:
    """Each row as its line number and its fields, or the fault that it has."""
    header = next((line for line in split(text) if line.strip()), "")
    delimiter = max(DELIMITERS, key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    names: list[str] | None = None
    before = 0
    try:
        for row in reader:
            number, before = before + 1, reader.line_num
            if not any(cell.strip() for cell in row):
                continue
            if names is None:
                names = [cell.strip().lower() for cell in row]
                faults = list(_header_faults(names, number))
                yield from ((number, fault) for fault in faults)
                if faults:
                    return
            elif len(row) > len(names) and any(cell.strip() for cell in row[len(names) :]):
                yield (
                    number,
                    Fault(
                        number,
                        f"{len(row)} cells under {len(names)} columns; put quotes around a cell with {delimiter!r}",
                    ),
                )
            else:
                yield number, _cells(names, row, number)
    except csv.Error as error:
        yield before + 1, Fault(before + 1, f"not CSV: {error}")


def _header_faults(names: list[str], number: int) -> Iterator[Fault]:
    unknown = [name for name in names if name not in ACCEPTED]
    if unknown:
        yield Fault(number, f"column(s) {', '.join(map(repr, unknown))} not known; accepted: {', '.join(ACCEPTED)}")
    if "prompt" not in names:
        yield Fault(number, "the first line must name the columns, and one of them must be prompt")
    if len(set(names)) < len(names):
        yield Fault(number, "a column is named twice")


def _cells(names: list[str], row: list[str], number: int) -> dict[str, Any] | Fault:
    entry: dict[str, Any] = {}
    for name, cell in zip(names, row):  # noqa: B905 -- a short row leaves its last columns empty
        text = cell.strip()
        if not text:
            continue
        try:
            entry[name] = _typed(name, text)
        except ValueError as error:
            return Fault(number, f"{name} {text!r}: {error}")
    return entry


def _typed(name: str, text: str) -> Any:
    if name in ("references", "tags"):
        if text.startswith("["):
            return json.loads(text)
        return [part.strip() for part in text.split("|") if part.strip()]
    if name in _BOOLEAN_FIELDS:
        if text.lower() not in _BOOLEANS:
            raise ValueError(f"accepted: {', '.join(_BOOLEANS)}")
        return _BOOLEANS[text.lower()]
    if name == "n":
        try:
            return int(text)
        except ValueError:
            raise ValueError("a whole number is expected") from None
    if name == "extra_body" or (name == "webhook" and text.startswith("{")):
        return json.loads(text)
    return text


def split(text: str) -> list[str]:
    """The lines of a file."""
    # Not splitlines(): a prompt may hold U+2028 and the like, which are no line ends in a file.
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
