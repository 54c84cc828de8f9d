"""Reads a list of images from a file or from stdin. The error for a bad list names every fault, line by line.

=========  ===============================================================================================
format     a line is
=========  ===============================================================================================
jsonl      an object with the fields of ``ImageRequest``, and optionally ``id`` and ``tags``
csv        a row; the header names the same fields; commas, semicolons or tabs; empty cells set nothing
text       a prompt
=========  ===============================================================================================

In a CSV cell, ``|`` separates references or tags; a JSON list works too. Relative paths of reference images count from
the folder of the list, so that a list works in any current folder.
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
from .csv_rows import DELIMITERS, read_rows, split_lines
from .image_list import ACCEPTED_FIELDS, ImageListBuilder, LineFault, PlannedImage, invalid_lines

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


def read_list_file(
    source: str, *, form: Format | None = None, defaults: Mapping[str, Any] | None = None
) -> list[PlannedImage]:
    """All images that a file or stdin (``-``) lists, checked, reference images included. Blocking; sends nothing.

    Args:
        source: a path, or ``-``.
        form: ``"jsonl"``, ``"csv"`` or ``"text"``; None: by the file's ending, else by its first line.
        defaults: fields of ``ImageRequest`` for lines that don't set them.

    Raises:
        InvalidLines: some lines can't be used; the error lists every fault with its line.
        BadRequestError: the file can't be read, or lists nothing.
    """
    path = None if source == STDIN else Path(source)
    text = _read_text(path)
    if form is None:
        form = _BY_ENDING.get(path.suffix.lower()) if path is not None else None
    images = parse_list(text, form=form, defaults=defaults, folder=path.parent if path is not None else Path())
    if not images:
        raise BadRequestError(
            f"{'stdin' if path is None else path} holds no lines", advice="Write one image per line into it."
        )
    check_references(images)
    return images


def parse_list(
    text: str, *, form: Format | None = None, defaults: Mapping[str, Any] | None = None, folder: Path | None = None
) -> list[PlannedImage]:
    """The images that a text lists. Pure: opens no reference image.

    Raises:
        InvalidLines: some lines can't be used; the error lists every fault with its line.
    """
    form = form or _guess_format(text)
    if form not in get_args(Format):
        raise BadRequestError(f"format {form!r} is not known; accepted: {', '.join(get_args(Format))}")
    builder = ImageListBuilder(defaults)
    entries = {"jsonl": _read_objects, "csv": read_rows, "text": _read_prompts}[form](text)
    for number, entry in entries:
        if isinstance(entry, LineFault):
            builder.faults.append(entry)
        else:
            builder.add(number, _with_absolute_paths(entry, folder or Path()))
    return builder.finish()


def check_references(images: Iterable[PlannedImage]) -> None:
    """Check every reference image once. Blocking: opens the files.

    Raises:
        InvalidLines: some are missing or unusable; the error lists every line that uses them.
    """
    checked: dict[tuple[Reference, int], ReferenceImageError | None] = {}
    faults: list[LineFault] = []
    for image in images:
        for position, reference in enumerate(image.request.references, start=1):
            key = (reference, position)
            if key not in checked:
                checked[key] = _reference_error(reference, position, image)
            error = checked[key]
            if error is not None:
                faults.append(LineFault.of(image.line, error))
    if faults:
        # A line for several images is several entries here; its fault is one.
        raise invalid_lines(dict.fromkeys(faults))


def _reference_error(reference: Reference, position: int, image: PlannedImage) -> ReferenceImageError | None:
    try:
        check_reference(reference, position, image.request.spec.max_reference_bytes)
    except ReferenceImageError as error:
        return error
    return None


def _read_text(path: Path | None) -> str:
    name = "stdin" if path is None else str(path)
    try:
        if path is not None and path.stat().st_size > MAX_BYTES:
            raise BadRequestError(f"{name} is larger than {MAX_BYTES // 1024 // 1024} MB", advice="Split it.")
        data = sys.stdin.buffer.read(MAX_BYTES + 1) if path is None else path.read_bytes()
    except OSError as error:
        raise BadRequestError(f"{name} can't be read: {error.strerror or error}") from None
    try:
        return data.decode("utf-8-sig")  # spreadsheets write a byte order mark
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise BadRequestError(f"{name}, line {line}: not UTF-8 text", advice="Save the list as UTF-8.") from None


def _guess_format(text: str) -> Format:
    first = next((line for line in text.splitlines() if line.strip()), "").strip()
    if first.startswith("{"):
        return "jsonl"
    for delimiter in DELIMITERS:
        names = {cell.strip().lower() for cell in first.split(delimiter)}
        if "prompt" in names and names <= set(ACCEPTED_FIELDS):
            return "csv"
    return "text"


def _read_prompts(text: str) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(split_lines(text), start=1):
        if line.strip():
            yield number, line.strip()


def _read_objects(text: str) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(split_lines(text), start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line, object_pairs_hook=_without_repeated_fields)
        except json.JSONDecodeError as error:
            yield number, LineFault(number, f"not JSON: {error.msg} at column {error.colno}")
        except ValueError as error:
            yield number, LineFault(number, str(error))
        else:
            if isinstance(entry, dict):
                yield number, entry
            else:
                yield number, LineFault(number, f"an object with a prompt is expected, not {line.strip()[:60]!r}")


def _without_repeated_fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a field is given twice")
    return found


def _with_absolute_paths(entry: Any, folder: Path) -> Any:
    """The entry with its reference paths made absolute, relative ones from ``folder``."""
    if not isinstance(entry, dict) or not entry.get("references"):
        return entry
    given = entry["references"]
    listed = [given] if isinstance(given, str) else given
    if not isinstance(listed, list):
        return entry
    return {**entry, "references": [_absolute_path(one, folder) for one in listed]}


def _absolute_path(reference: Any, folder: Path) -> Any:
    if not isinstance(reference, str):
        return reference
    path = Reference.of(reference).path if is_local_path(reference) else None
    return reference if path is None else str((folder / path).absolute())


def is_local_path(text: str) -> bool:
    """Whether a reference in a list is a path, and not a URL."""
    return bool(text.strip()) and not text[:8].lower().startswith(("http:", "https:", "data:", "sha256:", "file:"))
