"""Lists as JSON: an array, an object that holds one, objects one after another, or JSON lines. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterator
from typing import Any, Final, NoReturn

from ..request import is_blank
from .image_list import ACCEPTED_FIELDS, LineFault, Record

LIST_KEYS: Final = ("images", "prompts", "requests", "items")
"""An object with one of these holds the list below it."""

_BLANK: Final = re.compile(r"[ \t\n\r]*")


def _without_repeated_fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"the field {name[:60]!r} is given twice")
        found[name] = value
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number of JSON")


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_without_repeated_fields, parse_constant=_no_constant)


def is_json_lines(text: str) -> bool:
    """Whether a text that begins with ``{`` is an object in each line, and not one document."""
    lines = (line for line in text.split("\n") if not is_blank(line) and not line.lstrip().startswith("#"))
    first, second = next(lines, "").strip(), next(lines, "").strip()
    if not second:
        return False
    try:
        return _DECODER.raw_decode(first)[1] == len(first)
    except (ValueError, RecursionError):
        pass
    try:
        _DECODER.raw_decode(text, _skip(text, 0))
    except (ValueError, RecursionError):
        return second.startswith("{")
    return False


def read_json_lines(text: str) -> Iterator[Record]:
    """The object in each line; a line that begins with ``#`` is a comment."""
    for number, line in enumerate(text.split("\n"), start=1):
        line = line.strip()
        if is_blank(line) or line.startswith("#"):
            continue
        try:
            entry = _DECODER.decode(line)
        except json.JSONDecodeError as error:
            yield Record(number, LineFault(number, f"not JSON: {error.msg} at column {error.colno}"))
        except (ValueError, RecursionError) as error:
            yield Record(number, LineFault(number, _reason(error)))
        else:
            if isinstance(entry, dict):
                yield Record(number, entry)
            else:
                message = f"an object with a prompt is expected, not {line[:60]!r}"
                yield Record(number, LineFault(number, message))


def read_json(text: str) -> Iterator[Record]:
    """The entries of a document, each with the line in which it begins."""
    walk = _Walk(text)
    try:
        yield from walk.entries()
    except json.JSONDecodeError as error:
        yield Record(error.lineno, LineFault(error.lineno, f"not JSON: {error.msg}", column=error.colno))
    except (ValueError, RecursionError) as error:
        yield Record(walk.line, LineFault(walk.line, _reason(error), item=walk.item + 1))


def entry_fault(line: int, entry: Any, item: int) -> LineFault | None:
    """Why something in a JSON or YAML list is no entry; None if it can be one."""
    if isinstance(entry, (str, dict)):
        return None
    shown = json.dumps(entry, default=str)[:60]
    return LineFault(line, f"a prompt, or an object with a prompt, is expected, not {shown}", item=item)


def wrapper_fault(line: int, keys: list[str], lists: list[str]) -> LineFault | None:
    """Why an object that seems to hold a list can't be used; ``lists`` are the keys that hold one."""
    known = [key for key in lists if key in LIST_KEYS]
    if not known:
        listed = ", ".join(repr(key[:60]) for key in lists)
        return LineFault(line, f"the list is under {listed}; accepted: {', '.join(LIST_KEYS)}, or a list alone")
    others = [key for key in keys if key != known[0]]
    if others:
        listed = ", ".join(repr(key[:60]) for key in others)
        message = f"not known beside the list {known[0]!r}: {listed}"
        return LineFault(line, message, f"Put fields into each entry; accepted there: {', '.join(ACCEPTED_FIELDS)}.")
    return None


def lists_in(found: dict[str, Any]) -> list[str]:
    """The keys of an object that hold a list of entries; none if the object is an entry itself."""
    if not found.keys().isdisjoint({*ACCEPTED_FIELDS, "custom_id", "body"} - {"id", "tags", "n"}) and not (
        found.keys() & set(LIST_KEYS)
    ):
        return []
    return [str(key) for key, value in found.items() if isinstance(value, list) and key not in ACCEPTED_FIELDS]


class _Walk:
    """Reads a document value by value, so that each entry is known by its line."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._counted = 0
        self.line = 1
        self.item = 0

    def entries(self) -> Iterator[Record]:
        position = _skip(self._text, 0)
        alone = True
        while position < len(self._text):
            line = self._line_at(position)
            if self._text[position] == "[":
                if not alone:
                    raise json.JSONDecodeError("Extra data", self._text, position)
                end = yield from self._elements(position)
                self._expect_end(end)
                return
            value, end = _DECODER.raw_decode(self._text, position)
            self.item += 1
            if not isinstance(value, dict):
                shown = self._text[position : min(end, position + 60)]
                message = f"a list, or an object with a prompt, is expected, not {shown}"
                yield Record(line, LineFault(line, message, item=self.item))
            elif lists := lists_in(value):
                fault = wrapper_fault(line, list(value), lists)
                if fault is not None:
                    yield Record(line, fault)
                else:
                    self.item = 0
                    yield from self._elements(self._value_of(position, lists[0]))
                    self._expect_end(end)
                    return
            else:
                yield Record(line, value, 0 if alone and _skip(self._text, end) == len(self._text) else self.item)
            alone = False
            position = _skip(self._text, end)

    def _elements(self, position: int) -> Generator[Record, None, int]:
        text = self._text
        position = _skip(text, position + 1)
        if text[position : position + 1] == "]":
            return position + 1
        while True:
            line = self._line_at(position)
            value, end = _DECODER.raw_decode(text, position)
            self.item += 1
            yield Record(line, entry_fault(line, value, self.item) or value, self.item)
            position = _skip(text, end)
            if text[position : position + 1] == "]":
                return position + 1
            if text[position : position + 1] != ",":
                raise json.JSONDecodeError("Expecting ',' or ']'", text, position)
            position = _skip(text, position + 1)
            if text[position : position + 1] == "]":
                raise json.JSONDecodeError("A comma before the end of the array", text, position)

    def _value_of(self, position: int, wanted: str) -> int:
        """Where the value of a key begins, in an object that is valid."""
        position = _skip(self._text, position + 1)
        while True:
            name, position = _DECODER.raw_decode(self._text, position)
            position = _skip(self._text, _skip(self._text, position) + 1)
            if name == wanted:
                return position
            position = _skip(self._text, _skip(self._text, _DECODER.raw_decode(self._text, position)[1]) + 1)

    def _expect_end(self, position: int) -> None:
        rest = _skip(self._text, position)
        if rest < len(self._text):
            raise json.JSONDecodeError("Extra data", self._text, rest)

    def _line_at(self, position: int) -> int:
        self.line += self._text.count("\n", self._counted, position)
        self._counted = position
        return self.line


def _skip(text: str, position: int) -> int:
    found = _BLANK.match(text, position)
    assert found is not None  # it matches nothing, too
    return found.end()


def _reason(error: Exception) -> str:
    return "not readable: it is nested too deeply" if isinstance(error, RecursionError) else str(error)
