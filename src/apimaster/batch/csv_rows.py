"""Lists as CSV: a header that names fields, then a row for each entry. Cells become values of their field. Pure."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from typing import Any, Final

from ..request import is_blank
from .image_list import ACCEPTED_FIELDS, LineFault, Record

_BOOLEANS: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_BOOLEAN_FIELDS: Final = frozenset({"google_search", "google_image_search"})
DELIMITERS: Final = (",", ";", "\t")


def read_rows(text: str) -> Iterator[Record]:
    """The line number of each row, with its fields or with the fault in it.

    Excel's ``sep=;`` may stand before the header, and so may comment lines, which begin with ``#``.
    """
    start, skipped, named = _start_of_header(text)
    header = re.split(r"[\r\n]", text[start : start + 100_000], maxsplit=1)[0]
    delimiter = named or delimiter_of(header)
    reader = csv.reader(io.StringIO(text[start:], newline=""), delimiter=delimiter, strict=True)
    names: list[str] | None = None
    before = skipped
    try:
        for row in reader:
            number, before = before + 1, skipped + reader.line_num
            if all(map(is_blank, row)):
                continue
            if names is None:
                names = column_names(row)
                faults = list(_header_faults(names, number))
                yield from (Record(number, fault) for fault in faults)
                if faults:
                    return
            elif len(row) > len(names) and not all(map(is_blank, row[len(names) :])):
                advice = f"Put quotes around a cell that holds {delimiter!r}."
                fault = LineFault(number, f"{len(row)} cells under {len(names)} columns", advice)
                yield Record(number, fault)
            else:
                yield Record(number, _read_cells(names, row, number))
    except csv.Error as error:
        yield Record(before + 1, LineFault(before + 1, f"not CSV: {error}"))


def column_names(row: list[str]) -> list[str]:
    """The cells of a header as names of fields: ``Aspect ratio`` stands for ``aspect_ratio``."""
    return [re.sub(r"[\s-]+", "_", cell.strip().lower()) for cell in row]


def cells_of(line: str, delimiter: str) -> list[str]:
    """The cells of one line; those of a line that is no CSV, as well as they can be told."""
    try:
        return next(csv.reader([line.rstrip("\r\n")], delimiter=delimiter), [])
    except csv.Error:
        return line.split(delimiter)


def delimiter_of(header: str) -> str:
    """What separates the cells of a header: what makes the most known names, else what it has the most of."""

    def merit(delimiter: str) -> tuple[int, int]:
        names = column_names(cells_of(header, delimiter))
        return sum(name in ACCEPTED_FIELDS for name in names), len(names)

    return max(DELIMITERS, key=merit)


def named_delimiter(line: str) -> str | None:
    """The delimiter that a line ``sep=;`` names; None for another line."""
    found = re.fullmatch(r'"?sep=(.)"?', line.strip("\r\n \ufeff"), re.IGNORECASE)
    return found.group(1) if found is not None else None


def _start_of_header(text: str) -> tuple[int, int, str | None]:
    """Where the header begins, how many lines are before it, and the delimiter that one of them names."""
    start = skipped = 0
    named = None
    while start < len(text):
        end = re.compile(r"\r\n|\r|\n").search(text, start)
        line = text[start : end.start() if end else len(text)]
        if not is_blank(line) and not line.lstrip().startswith("#") and named_delimiter(line) is None:
            break
        named = named_delimiter(line) or named
        start, skipped = (end.end() if end else len(text)), skipped + 1
    return start, skipped, named


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
        if is_blank(text):
            continue
        try:
            entry[name] = _read_cell(name, text)
        except (ValueError, RecursionError) as error:
            shown = text if len(text) <= 80 else f"{text[:79]}…"
            return LineFault(number, f"{name} {shown!r}: {error}")
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
