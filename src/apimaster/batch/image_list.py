"""From the entries of a caller's list to checked images, each with a unique id.

An id that the caller does not give is made of the prompt's first words and of a digest of the whole request. So it
stays the same when other entries are inserted before it, and changes when its own entry changes. A request for ``n``
images becomes ``n`` images of the list, ``cat-1`` to ``cat-n``.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from ..adapters import is_reserved_file_name
from ..errors import APIMasterError, BadRequestError, describe_charge, sentence
from ..request import ImageRequest, text_fault
from .items import request_json

_ID: Final = re.compile(r"[^\W_][\w.-]{0,99}")
_ACCEPTED_IDS: Final = (
    "up to 100 letters, digits, '-', '_' and '.', with a letter or a digit first and no '.' last, and no name that "
    "Windows reserves, such as CON, nul.png or com1"
)
_NOT_A_WORD: Final = re.compile(r"[^a-z0-9]+")
_SLUG_LENGTH: Final = 40
_SHOWN_FAULTS: Final = 50
OWN_FIELDS: Final = ("id", "tags")
ACCEPTED_FIELDS: Final = (*OWN_FIELDS, *ImageRequest.model_fields)


@dataclass(frozen=True, slots=True)
class PlannedImage:
    """One image to make. ``line`` is the number of its line or entry in the list, from 1, and ``item`` the number of
    its entry where several share a line; 0: they don't."""

    line: int
    id: str
    request: ImageRequest
    tags: tuple[str, ...] = ()
    item: int = 0


@dataclass(frozen=True, slots=True)
class LineFault:
    """What is wrong with a line, and what to do about it where that differs from one fault to the next. ``item`` is the
    number of the entry in a JSON or YAML list, ``column`` that of the character in the line; 0: not known."""

    line: int
    message: str
    advice: str = ""
    item: int = 0
    column: int = 0

    def __str__(self) -> str:
        place = f"line {self.line}"
        place += f", item {self.item}" if self.item else ""
        place += f", column {self.column}" if self.column else ""
        return f"{place}: {f'{sentence(self.message)} {self.advice}' if self.advice else self.message}"

    @classmethod
    def of(cls, line: int, error: APIMasterError, item: int = 0) -> LineFault:
        """The fault that ``error`` describes."""
        # The advice of the class, such as "Correct the request.", is said once for all faults, below them.
        return cls(line, error.message, error.advice if error.has_own_advice else "", item)


class Record(NamedTuple):
    """What a reader of lists found: an entry, or the fault in its place."""

    line: int
    entry: Any
    item: int = 0


class InvalidLines(BadRequestError):
    """Some lines can't be used, and nothing was sent. ``faults`` holds every fault of every line."""

    advice = "Correct these lines."

    def __init__(self, message: str, *, faults: tuple[LineFault, ...] = (), **details: object) -> None:
        super().__init__(message, **details)  # type: ignore[arg-type]  # the base class checks the names
        self.faults = faults

    def __str__(self) -> str:
        return f"{self.message}\n{describe_charge(self.billed)} {self.advice}"  # the message is one line for each fault


def invalid_lines(faults: Iterable[LineFault], name: str = "the list") -> InvalidLines:
    """The error that lists these faults, line by line; ``name`` is that of the file."""
    ordered = tuple(sorted(faults, key=lambda fault: (fault.line, fault.item)))
    shown = "\n".join(f"  {fault}" for fault in ordered[:_SHOWN_FAULTS])
    more = len(ordered) - _SHOWN_FAULTS
    tail = f"\n  … and {more} more" if more > 0 else ""
    count = "1 fault" if len(ordered) == 1 else f"{len(ordered)} faults"
    return InvalidLines(f"{count} in {name}:\n{shown}{tail}", faults=ordered)


Entry = str | ImageRequest | Mapping[str, Any]
"""A prompt, a request, or the fields of one with an optional ``id`` and ``tags``."""


class ImageListBuilder:
    """Collects images and faults, and knows which ids are taken.

    Args:
        defaults: fields of ``ImageRequest`` for entries that don't set them.
        name: what errors call the list.
    """

    def __init__(self, defaults: Mapping[str, Any] | None = None, name: str = "the list") -> None:
        self._name = name
        self._defaults = {name: value for name, value in (defaults or {}).items() if value is not None}
        self._line_of_id: dict[str, int] = {}
        self.images: list[PlannedImage] = []
        self.faults: list[LineFault] = []

    def add(self, line: int, entry: Entry, item: int = 0) -> None:
        """Add the images of one entry, or note what is wrong with it."""
        try:
            self._add(line, entry, item)
        except BadRequestError as error:
            self.faults.append(LineFault.of(line, error, item))

    def finish(self) -> list[PlannedImage]:
        """All images.

        Raises:
            InvalidLines: some entries can't be used; the error lists every fault.
        """
        if self.faults:
            raise invalid_lines(self.faults, self._name)
        return self.images

    def _add(self, line: int, entry: Entry, item: int) -> None:
        own: dict[str, Any] = {}
        if isinstance(entry, ImageRequest):
            request = entry
        elif isinstance(entry, str):
            request = _request({**self._defaults, "prompt": entry})
        elif isinstance(entry, Mapping):
            own = {name: entry[name] for name in OWN_FIELDS if entry.get(name) is not None}
            fields = {name: value for name, value in entry.items() if name not in OWN_FIELDS}
            unknown = sorted(_shown(name) for name in fields if name not in ACCEPTED_FIELDS)
            if unknown:
                raise BadRequestError(f"{', '.join(unknown)} not known; accepted: {', '.join(ACCEPTED_FIELDS)}")
            request = _request({**self._defaults, **fields})
        else:
            raise BadRequestError(f"an entry is a prompt, a request or its fields, not {type(entry).__name__!r}")
        tags = _tags(own.get("tags", ()))
        given_id = _checked_id(own["id"]) if "id" in own else None
        single = request if request.n == 1 else request.model_copy(update={"n": 1})
        base = given_id or _made_id(single)
        for index in range(request.n):
            name = base if request.n == 1 else f"{base}-{index + 1}"
            unique = self._unique_id(name, line, given=given_id is not None)
            self.images.append(PlannedImage(line, unique, single, tags, item))

    def _unique_id(self, base: str, line: int, *, given: bool) -> str:
        name, again = base, 1
        while (other := self._line_of_id.get(name.lower())) is not None:
            if given:
                # File names that differ only in case are one file on many systems.
                raise BadRequestError(f"id {name!r} is taken by line {other}; ids are unique, whatever their case")
            again += 1
            name = f"{base}-{again}"
        self._line_of_id[name.lower()] = line
        return name


def _request(fields: dict[str, Any]) -> ImageRequest:
    if "prompt" not in fields:
        raise BadRequestError("prompt is missing", advice="Say what to draw.")
    return ImageRequest(**fields)


def _checked_id(value: object) -> str:
    text = str(value).strip() if isinstance(value, (str, int)) and not isinstance(value, bool) else ""
    # Somebody may copy the folder to Windows later, so its rules apply on every system.
    if not _ID.fullmatch(text) or is_reserved_file_name(text):
        raise BadRequestError(f"id {_shown(value)} can't name a file; accepted: {_ACCEPTED_IDS}")
    return unicodedata.normalize("NFC", text)


def _tags(value: object) -> tuple[str, ...]:
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, (list, tuple)) or not all(isinstance(tag, (str, int, float)) for tag in listed):
        raise BadRequestError(f"tags must be a text or a list of texts, not {_shown(value)}")
    for tag in listed:
        if fault := text_fault(str(tag)):
            raise BadRequestError(f"tag {_shown(tag)} {fault}", advice="Take the character out.")
    return tuple(dict.fromkeys(text for tag in listed if (text := str(tag).strip())))


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def _made_id(request: ImageRequest) -> str:
    plain = unicodedata.normalize("NFKD", request.prompt).encode("ascii", "ignore").decode().lower()
    slug = _NOT_A_WORD.sub("-", plain[: _SLUG_LENGTH * 3]).strip("-")
    if len(slug) > _SLUG_LENGTH:
        slug = slug[: _SLUG_LENGTH + 1].rpartition("-")[0] or slug[:_SLUG_LENGTH]
    digest = hashlib.sha256(request_json(request).encode()).hexdigest()[:8]
    return f"{slug or 'image'}-{digest}"
