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
from .json_lists import LIST_KEYS, is_json_lines

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

_KNOWN: Final = "|".join(sorted({*ACCEPTED_FIELDS, *LIST_KEYS, "custom_id", "body"}))
_FIELD: Final = re.compile(rf"""(-\s+)?["']?({_KNOWN})["']?\s*:(\s|$)""", re.IGNORECASE)
_PLAIN_FIELD: Final = re.compile(r"""(-\s+)?(["']?[a-z_][a-z0-9_-]*["']?:\s+\S|["']?\w[\w -]{0,40}["']?:\s*$)""")
_STRUCTURE: Final = (
    (re.compile(r"[{}]|\[\s*($|[\"'{\[\]])|\],?$|\[[^\]]*\],?$"), "JSON or a settings file"),
    (re.compile(r"""("[^"]*"|'[^']*')\s*(:|,$)"""), "a part of JSON"),
    (re.compile(r"""\(\s*($|["'(])|\),?$"""), "code"),
    (re.compile(r"-($|\s)|---|%YAML|\.\.\.$"), "YAML, or a list of Markdown"),
    (_FIELD, "YAML"),
    (_PLAIN_FIELD, "YAML"),
    (re.compile(r"<[!?/a-zA-Z]"), "XML or HTML"),
    (re.compile(r"```|~~~|\|.*\|$"), "Markdown"),
    (re.compile(r"[\w.]+\s*=(\s*[\[{\"'(]|\s+\S|\S*$)"), "a settings file or code"),
    (re.compile(r"//|/\*"), "a comment (comments begin with #) or code"),
    (re.compile(r"""("[^"]*"|)\t|[^\t]+\t"""), "a table with tabs"),
    (re.compile(r'"[^"]*"[,;]'), "CSV"),
)
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
    if checked and (found := _table_fault(text)) is not None:
        yield found
        return
    for number, line in enumerate(text.split("\n"), start=1):
        prompt = line.strip()
        if is_blank(prompt) or prompt.startswith(COMMENT):
            continue
        kind = structure_of(prompt) if checked else None
        if kind is not None:
            shown = prompt if len(prompt) <= 60 else f"{prompt[:59]}…"
            yield Record(number, LineFault(number, f"this looks like {kind}, not like a prompt: {shown!r}", _ADVICE))
        else:
            yield Record(number, prompt[1:] if prompt.startswith(ESCAPED) else prompt)


def count_comments(text: str) -> int:
    """How many lines of a text are comments."""
    return sum(line.lstrip().startswith(COMMENT) for line in text.split("\n"))


def structure_of(line: str) -> str | None:
    """What a line looks like that is no prompt; None for a prompt."""
    for pattern, kind in _STRUCTURE:
        if pattern.match(line):
            return kind
    return None


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
    if first.startswith(("---", "%YAML")) or _FIELD.match(first):
        return True
    if first.endswith(":") and len(lines) > 1 and lines[1].startswith("- "):
        return True
    if first != "-" and not first.startswith("- "):
        return False
    return all(line.startswith("- ") for line in lines) or any(map(_FIELD.match, lines))


def _table_fault(text: str) -> Record | None:
    """The fault of a text whose lines all have the same columns, none of which is known."""
    lines = list(itertools.islice(_significant(text), _LOOKED_AT))
    if len(lines) < 2:
        return None
    for delimiter in DELIMITERS:
        counts = {len(cells_of(line, delimiter)) for line in lines}
        spaced = delimiter != "\t" and any(f"{delimiter} " in line for line in lines)  # as in a sentence
        if len(counts) == 1 and counts.pop() > 1 and not spaced:
            number = next(
                number for number, line in enumerate(text.split("\n"), start=1) if line.strip(" \r\n\ufeff") == lines[0]
            )
            cells = ", ".join(repr(cell[:40]) for cell in cells_of(lines[0], delimiter)[:20])
            accepted = ", ".join(ACCEPTED_FIELDS)
            message = f"this looks like a table, and no column is known: {cells}; accepted: {accepted}"
            return Record(number, LineFault(number, message, _ADVICE))
    return None


def _is_json(text: str) -> bool:
    """Whether a value of JSON is at the beginning."""
    try:
        json.JSONDecoder().raw_decode("\n".join(_significant(text)))
    except (ValueError, RecursionError):
        return False
    return True
