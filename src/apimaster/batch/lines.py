"""From whatever a caller lists to checked lines: one per image, each with an id that is its own.

An id that was not given is made of the prompt's first words and of a digest of the whole request, so that it stays
the same when lines are put in before it, and changes when the line is changed. A request for ``n`` images becomes
``n`` lines, ``cat-1`` to ``cat-n``.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from ..errors import BadRequestError
from ..request import ImageRequest
from .schema import request_text

_ID: Final = re.compile(r"[^\W_][\w.-]{0,99}")
_NOT_A_WORD: Final = re.compile(r"[^a-z0-9]+")
_SLUG: Final = 40
_SHOWN_FAULTS: Final = 50
OWN_FIELDS: Final = ("id", "tags")
ACCEPTED: Final = (*OWN_FIELDS, *ImageRequest.model_fields)


@dataclass(frozen=True, slots=True)
class Line:
    """One image to make. ``number`` is the line it stands on, from 1."""

    number: int
    id: str
    request: ImageRequest
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a line."""

    line: int
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.message}"


class InvalidLines(BadRequestError):
    """Some lines can't be used, and nothing was sent. ``faults`` holds every fault of every line."""

    def __init__(self, message: str, *, faults: tuple[Fault, ...] = (), **details: object) -> None:
        super().__init__(message, **details)  # type: ignore[arg-type]  # the base class checks the names
        self.faults = faults


def refuse(faults: Iterable[Fault]) -> InvalidLines:
    """The error that lists these faults, line by line."""
    ordered = tuple(sorted(faults, key=lambda fault: fault.line))
    shown = "\n".join(f"  {fault}" for fault in ordered[:_SHOWN_FAULTS])
    more = len(ordered) - _SHOWN_FAULTS
    tail = f"\n  … and {more} more" if more > 0 else ""
    return InvalidLines(f"{len(ordered)} fault(s); nothing was sent:\n{shown}{tail}", faults=ordered)


Entry = str | ImageRequest | Mapping[str, Any]
"""A prompt, a request, or the fields of one with an optional ``id`` and ``tags``."""


class Reader:
    """Collects lines and faults, and knows which ids are taken.

    Args:
        defaults: fields of ``ImageRequest`` for lines that don't set them.
    """

    def __init__(self, defaults: Mapping[str, Any] | None = None) -> None:
        self._defaults = {name: value for name, value in (defaults or {}).items() if value is not None}
        self._taken: dict[str, int] = {}
        self.lines: list[Line] = []
        self.faults: list[Fault] = []

    def add(self, number: int, entry: Entry) -> None:
        """Take one entry, or note what is wrong with it."""
        try:
            self._add(number, entry)
        except BadRequestError as error:
            self.faults.append(Fault(number, error.message))

    def finish(self) -> list[Line]:
        """All lines.

        Raises:
            InvalidLines: some of them can't be used; every fault is listed.
        """
        if self.faults:
            raise refuse(self.faults)
        return self.lines

    def _add(self, number: int, entry: Entry) -> None:
        own: dict[str, Any] = {}
        if isinstance(entry, ImageRequest):
            request = entry
        elif isinstance(entry, str):
            request = _request({**self._defaults, "prompt": entry})
        elif isinstance(entry, Mapping):
            own = {name: entry[name] for name in OWN_FIELDS if entry.get(name) is not None}
            fields = {name: value for name, value in entry.items() if name not in OWN_FIELDS}
            unknown = sorted(set(fields) - set(ACCEPTED))
            if unknown:
                raise BadRequestError(f"{', '.join(map(repr, unknown))} not known; accepted: {', '.join(ACCEPTED)}")
            request = _request({**self._defaults, **fields})
        else:
            raise BadRequestError(f"a line is a prompt, a request or its fields, not a {type(entry).__name__}")
        tags = _tags(own.get("tags", ()))
        given = _checked_id(own["id"]) if "id" in own else None
        single = request if request.n == 1 else request.model_copy(update={"n": 1})
        base = given or _made_id(single)
        for index in range(request.n):
            wanted = base if request.n == 1 else f"{base}-{index + 1}"
            self.lines.append(Line(number, self._claim(wanted, number, given is not None), single, tags))

    def _claim(self, wanted: str, number: int, given: bool) -> str:
        name, again = wanted, 1
        while (other := self._taken.get(name.lower())) is not None:
            if given:
                # File names that differ in case only are one file on many systems.
                raise BadRequestError(f"id {name!r} is taken by line {other}; ids are unique, whatever their case")
            again += 1
            name = f"{wanted}-{again}"
        self._taken[name.lower()] = number
        return name


def _request(fields: dict[str, Any]) -> ImageRequest:
    if "prompt" not in fields:
        raise BadRequestError("prompt is missing; say what to draw")
    try:
        return ImageRequest(**fields)
    except ValidationError as invalid:  # pragma: no cover -- ImageRequest translates its own
        raise BadRequestError(str(invalid)) from None


def _checked_id(value: object) -> str:
    text = str(value).strip() if isinstance(value, (str, int)) and not isinstance(value, bool) else ""
    if not _ID.fullmatch(text):
        raise BadRequestError(
            f"id {value!r} can't name a file; accepted: up to 100 letters, digits, '-', '_', '.', none of these first"
        )
    return unicodedata.normalize("NFC", text)


def _tags(value: object) -> tuple[str, ...]:
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, (list, tuple)) or not all(isinstance(tag, (str, int, float)) for tag in listed):
        raise BadRequestError(f"tags must be a text or a list of texts, not {value!r}")
    return tuple(dict.fromkeys(text for tag in listed if (text := str(tag).strip())))


def _made_id(request: ImageRequest) -> str:
    plain = unicodedata.normalize("NFKD", request.prompt).encode("ascii", "ignore").decode().lower()
    slug = _NOT_A_WORD.sub("-", plain[: _SLUG * 3]).strip("-")
    if len(slug) > _SLUG:
        slug = slug[: _SLUG + 1].rpartition("-")[0] or slug[:_SLUG]
    digest = hashlib.sha256(request_text(request).encode()).hexdigest()[:8]
    return f"{slug or 'image'}-{digest}"
