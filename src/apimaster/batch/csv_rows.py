"""Lists as CSV: a header that names fields, then a row for each entry. Cells become values of their field. Pure."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any, Final

from .image_list import ACCEPTED_FIELDS, LineFault

_BOOLEANS: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_BOOLEAN_FIELDS: Final = frozenset({"google_search", "google_image_search"})
DELIMITERS: Final = (",", ";", "\t")


def read_rows(text: str) -> Iterator[tuple[int, Any]]:
    """The line number of each row, with its fields or with the fault in it."""
    header = next((line for line in split_lines(text) if line.strip()), "")
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
                advice = f"Put quotes around a cell that holds {delimiter!r}."
                yield number, LineFault(number, f"{len(row)} cells under {len(names)} columns", advice)
            else:
                yield number, _read_cells(names, row, number)
    except csv.Error as error:
        yield before + 1, LineFault(before + 1, f"not CSV: {error}")


def _header_faults(names: list[str], number: int) -> Iterator[LineFault]:
    unknown = [name for name in names if name not in ACCEPTED_FIELDS]
    if unknown:
        listed = ", ".join(map(repr, unknown))
        yield LineFault(number, f"not known as a column: {listed}; accepted: {', '.join(ACCEPTED_FIELDS)}")
    if "prompt" not in names:
        yield LineFault(number, "the first line must name the columns, and one of them must be prompt")
    if len(set(names)) < len(names):
        yield LineFault(number, "a column is named twice")


def _read_cells(names: list[str], row: list[str], number: int) -> dict[str, Any] | LineFault:
    entry: dict[str, Any] = {}
    for name, cell in zip(names, row):  # noqa: B905 -- a short row leaves its last columns empty
        text = cell.strip()
        if not text:
            continue
        try:
            entry[name] = _read_cell(name, text)
        except ValueError as error:
            return LineFault(number, f"{name} {text!r}: {error}")
    return entry


def _read_cell(name: str, text: str) -> Any:
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


def split_lines(text: str) -> list[str]:
    """The lines of a file."""
    # Not splitlines(): a prompt may contain U+2028 and the like, which end no line in a file.
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
