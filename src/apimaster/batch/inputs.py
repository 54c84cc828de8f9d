"""A list of pictures in a file, or on stdin → checked lines. Everything that is wrong is listed, line by line.

=========  ===============================================================================================
format     a line is
=========  ===============================================================================================
jsonl      an object with the fields of ``ImageRequest``, and optionally ``id`` and ``tags``
csv        a row; the header names the same fields; commas, semicolons or tabs; empty cells are not set
text       a prompt
=========  ===============================================================================================

In a CSV cell, several references or tags are parted by ``|``, or written as a JSON list. Relative paths of
reference images count from the folder of the list, so that a list works from wherever it is run.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal, get_args

from ..adapters import check_reference
from ..errors import BadRequestError, ReferenceImageError
from ..request import Reference
from .lines import ACCEPTED, Fault, Line, Reader, refuse
from .tables import DELIMITERS, rows, split

Format = Literal["jsonl", "csv", "text"]

STDIN: Final = "-"
MAX_BYTES: Final = 512 * 1024 * 1024
_BY_ENDING: Final[dict[str, Format]] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "text",
    ".text": "text",
    ".md": "text",
}


def read_file(source: str, *, form: Format | None = None, defaults: Mapping[str, Any] | None = None) -> list[Line]:
    """All lines of a file, or of stdin (``-``), checked, reference images included. Blocking; nothing is sent.

    Args:
        source: a path, or ``-``.
        form: ``"jsonl"``, ``"csv"`` or ``"text"``; None: by the file's ending, else by its first line.
        defaults: fields of ``ImageRequest`` for lines that don't set them.

    Raises:
        InvalidLines: some lines can't be used; every fault is listed with its line.
        BadRequestError: the file can't be read, or there is nothing in it.
    """
    path = None if source == STDIN else Path(source)
    text = _text_of(path)
    if form is None:
        form = _BY_ENDING.get(path.suffix.lower()) if path is not None else None
    lines = parse(text, form=form, defaults=defaults, folder=path.parent if path is not None else Path())
    if not lines:
        raise BadRequestError(f"{'stdin' if path is None else path} holds no lines; there is nothing to do")
    check_line_references(lines)
    return lines


def parse(
    text: str, *, form: Format | None = None, defaults: Mapping[str, Any] | None = None, folder: Path | None = None
) -> list[Line]:
    """Lines out of a text. Pure: reference images are not looked at.

    Raises:
        InvalidLines: some lines can't be used; every fault is listed with its line.
    """
    form = form or _guess(text)
    if form not in get_args(Format):
        raise BadRequestError(f"format {form!r} is not known; accepted: {', '.join(get_args(Format))}")
    reader = Reader(defaults)
    entries = {"jsonl": _objects, "csv": rows, "text": _prompts}[form](text)
    for number, entry in entries:
        if isinstance(entry, Fault):
            reader.faults.append(entry)
        else:
            reader.add(number, _placed(entry, folder or Path()))
    return reader.finish()


def check_line_references(lines: Iterable[Line]) -> None:
    """Look at every reference image once. Blocking: opens the files.

    Raises:
        InvalidLines: some are missing or unusable; every line that wants them is listed.
    """
    checked: dict[tuple[Reference, int], str | None] = {}
    faults: list[Fault] = []
    for line in lines:
        for position, reference in enumerate(line.request.references, start=1):
            key = (reference, position)
            if key not in checked:
                checked[key] = _problem_with(reference, position, line)
            problem = checked[key]
            if problem is not None:
                faults.append(Fault(line.number, problem))
    if faults:
        # A line for several images is several lines here; its fault is one.
        raise refuse(dict.fromkeys(faults))


def _problem_with(reference: Reference, position: int, line: Line) -> str | None:
    try:
        check_reference(reference, position, line.request.spec.max_reference_bytes)
    except ReferenceImageError as error:
        return error.message
    return None


def _text_of(path: Path | None) -> str:
    name = "stdin" if path is None else str(path)
    try:
        if path is not None and path.stat().st_size > MAX_BYTES:
            raise BadRequestError(f"{name} is larger than {MAX_BYTES // 1024 // 1024} MB; split it")
        data = sys.stdin.buffer.read(MAX_BYTES + 1) if path is None else path.read_bytes()
    except OSError as error:
        raise BadRequestError(f"{name} can't be read: {error.strerror or error}") from None
    try:
        return data.decode("utf-8-sig")  # spreadsheets put a mark in front
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise BadRequestError(f"{name}, line {line}: not UTF-8 text; save the list as UTF-8") from None


def _guess(text: str) -> Format:
    first = next((line for line in text.splitlines() if line.strip()), "").strip()
    if first.startswith("{"):
        return "jsonl"
    for delimiter in DELIMITERS:
        names = {cell.strip().lower() for cell in first.split(delimiter)}
        if "prompt" in names and names <= set(ACCEPTED):
            return "csv"
    return "text"


def _prompts(text: str) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(split(text), start=1):
        if line.strip():
            yield number, line.strip()


def _objects(text: str) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(split(text), start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line, object_pairs_hook=_without_repeats)
        except json.JSONDecodeError as error:
            yield number, Fault(number, f"not JSON: {error.msg} at column {error.colno}")
        except ValueError as error:
            yield number, Fault(number, str(error))
        else:
            if isinstance(entry, dict):
                yield number, entry
            else:
                yield number, Fault(number, f"an object with a prompt is expected, not {line.strip()[:60]!r}")


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a field is given twice")
    return found


def _placed(entry: Any, folder: Path) -> Any:
    """The entry with its relative reference paths counted from ``folder``, and made absolute."""
    if not isinstance(entry, dict) or not entry.get("references"):
        return entry
    given = entry["references"]
    listed = [given] if isinstance(given, str) else given
    if not isinstance(listed, list):
        return entry
    return {**entry, "references": [_place(one, folder) for one in listed]}


def _place(reference: Any, folder: Path) -> Any:
    if not isinstance(reference, str):
        return reference
    path = Reference.of(reference).path if is_local(reference) else None
    return reference if path is None else str((folder / path).absolute())


def is_local(text: str) -> bool:
    """Whether a reference in a list is a path."""
    return bool(text.strip()) and not text[:8].lower().startswith(("http:", "https:", "data:", "sha256:", "file:"))
