"""Which format a list has: by what is in it, and by its ending only where that leaves it open. Pure.

A list that looks like structure is never read as prompts: what no reader understands is refused, line by line.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from typing import Final, Literal

from ..request import is_blank
from .csv_rows import DELIMITERS, cells_of, column_names, delimiter_of, named_delimiter
from .image_list import ACCEPTED_FIELDS, LineFault, Record
from .json_lists import is_json_lines
from .structure import FIELD, structure_of, structure_of_most

Format = Literal["jsonl", "json", "csv", "yaml", "text"]

COMMENT: Final = "#"
ESCAPED: Final = "\\#"
"""A line of text that begins so is a prompt that begins with ``#``."""

_BY_ENDING: Final[dict[str, Format]] = {
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "csv",
    ".tab": "csv",
    ".yaml": "yaml",
    ".yml": "yaml",
}
_LOOKED_AT: Final = 200
"""Lines that are compared to find columns."""

_ADVICE: Final = (
    "Write the list as JSON, JSON lines, CSV or YAML with the fields of a request; "
    "--format text buys each line as a prompt."
)


def format_of(text: str, ending: str) -> Format:
    """The format of a list; ``ending`` is that of its file, in small letters, or empty."""
    lines = list(itertools.islice(_significant(text), _LOOKED_AT))
    if not lines:
        return "text"
    first = lines[0]
    by_ending = _BY_ENDING.get(ending)
    if first.startswith("{") or re.match(r"\[\s*($|[\"{\[\]])", first):
        if by_ending == "yaml" and not _is_json(text):
            return "yaml"
        return "jsonl" if first.startswith("{") and is_json_lines(text) else "json"
    if named_delimiter(first) is not None or _is_header(first):
        return "csv"
    if by_ending is not None:
        return by_ending
    if _is_yaml(lines):
        return "yaml"
    return "text"


def read_prompts(text: str, *, checked: bool) -> Iterator[Record]:
    """Each line as a prompt, without comment lines; with ``checked``, structure is a fault."""
    if checked and (found := _table_fault(text) or _fault_of_most(text)) is not None:
        yield found
        return
    for number, line in enumerate(text.split("\n"), start=1):
        prompt = line.strip()
        if is_blank(prompt) or prompt.startswith(COMMENT):
            continue
        kind = structure_of(prompt) if checked else None
        if kind is not None:
            message = f"this looks like {kind}, not like a prompt: {_shown(prompt)}"
            yield Record(number, LineFault(number, message, _ADVICE))
        else:
            yield Record(number, prompt[1:] if prompt.startswith(ESCAPED) else prompt)


def count_comments(text: str) -> int:
    """How many lines of a text are comments."""
    return sum(line.lstrip().startswith(COMMENT) for line in text.split("\n"))


def _significant(text: str) -> Iterator[str]:
    for line in text.split("\n"):
        if not is_blank(line) and not line.lstrip().startswith(COMMENT):
            yield line.strip(" \r\n\ufeff")


def _is_header(line: str) -> bool:
    names = column_names(cells_of(line, delimiter_of(line)))
    if len(names) == 1:
        # One column; or columns with a sign between them that is not accepted, which the header's fault says.
        return names == ["prompt"] or ("|" in line and "prompt" in column_names(line.strip("|").split("|")))
    like_names = all(re.fullmatch(r"\w{0,40}", name) for name in names)
    return "prompt" in names or (like_names and not set(names).isdisjoint(ACCEPTED_FIELDS))


def _is_yaml(lines: list[str]) -> bool:
    first = lines[0]
    if first.startswith(("---", "%YAML")) or FIELD.match(first):
        return True
    if first.endswith(":") and len(lines) > 1 and lines[1].startswith("- "):
        return True
    if first != "-" and not first.startswith("- "):
        return False
    return all(line.startswith("- ") for line in lines) or any(map(FIELD.match, lines))


def _table_fault(text: str) -> Record | None:
    """The fault of a text whose lines all have the same columns, none of which is known."""
    lines = list(itertools.islice(_significant(text), _LOOKED_AT))
    if len(lines) < 2:
        return None
    for delimiter in DELIMITERS:
        counts = {len(cells_of(line, delimiter)) for line in lines}
        spaced = delimiter != "\t" and any(f"{delimiter} " in line for line in lines)  # as in a sentence
        if len(counts) == 1 and counts.pop() > 1 and not spaced:
            number = _number_of(lines[0], text)
            cells = ", ".join(repr(cell[:40]) for cell in cells_of(lines[0], delimiter)[:20])
            accepted = ", ".join(ACCEPTED_FIELDS)
            message = f"this looks like a table, and no column is known: {cells}; accepted: {accepted}"
            return Record(number, LineFault(number, message, _ADVICE))
    return None


def _fault_of_most(text: str) -> Record | None:
    """The fault of a text that is no list of prompts, although each of its lines may be one."""
    lines = list(itertools.islice(_significant(text), _LOOKED_AT))
    kind = structure_of_most(lines)
    if kind is None or any(map(structure_of, lines)):  # lines that can't be prompts are named one by one
        return None
    number = _number_of(lines[0], text)
    return Record(number, LineFault(number, f"this looks like {kind}, not like prompts: {_shown(lines[0])}", _ADVICE))


def _number_of(wanted: str, text: str) -> int:
    return next(number for number, line in enumerate(text.split("\n"), start=1) if line.strip(" \r\n\ufeff") == wanted)


def _shown(line: str) -> str:
    return repr(line if len(line) <= 60 else f"{line[:59]}…")


def _is_json(text: str) -> bool:
    """Whether a value of JSON is at the beginning."""
    try:
        json.JSONDecoder().raw_decode("\n".join(_significant(text)))
    except (ValueError, RecursionError):
        return False
    return True
