"""Checked references: of an accepted kind, whole, small enough, and ready to be sent.

These checks are the first to read the disk, so everything here blocks; flows run it as ``operations.RunBlocking``.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from .._images.inspect import NotAPicture, Picture, check_complete, inspect
from ..errors import ReferenceImageError

if TYPE_CHECKING:
    from .reference import Reference

_ACCEPTED: Final = "the endpoint takes JPEG, PNG and WebP"
_PIECE: Final = 256 * 1024  # bytes
_SAMPLE: Final = 4096  # bytes
_SAMPLES: Final = 16
_HOW_TO_CONVERT: Final = {
    "HEIC": "Convert it first, for example with `heif-convert` or by exporting it as JPEG.",
    "SVG": "Convert it to PNG first, for example with `rsvg-convert`.",
    "PDF": "Export the page as PNG first.",
    "the text of a data URI": "Pass that text itself instead of a file.",
    "an HTML page": "Save the picture itself, not the page that shows it.",
}
_CONVERT: Final = "Convert it first, for example to PNG."


@dataclass(frozen=True, slots=True)
class CheckedReference:
    """One reference, checked. Exactly one of ``url``, ``data`` and ``path`` is set.

    Attributes:
        name: its name in messages.
        url: sent as it is.
        data: picture bytes in memory.
        path: a local file that is read while the request is sent.
        media_type: ``image/png``, ``image/jpeg`` or ``image/webp``, read from the bytes; empty for a URL.
        size: bytes of the picture; 0 for a URL.
        changed_ns: the file's modification time when it was checked, in nanoseconds.
        pixels: width and height, read from the bytes; None for a URL.
        digest: ``sha256:…`` of the bytes, once they were hashed.
        fingerprint: of its size and of samples of its bytes, once it was taken: pictures that differ in it are not one.
    """

    name: str
    url: str | None = None
    data: bytes | None = field(default=None, repr=False)
    path: Path | None = None
    media_type: str = ""
    size: int = 0
    changed_ns: int = 0
    pixels: tuple[int, int] | None = None
    digest: str = ""
    fingerprint: str = ""

    @property
    def is_local(self) -> bool:
        """True if the bytes go into the request body."""
        return self.url is None

    def hashed(self) -> CheckedReference:
        """The same with its digest; a URL has none. Blocking: it reads the bytes.

        Raises:
            ReferenceImageError: a file can't be read any more, or has changed since it was checked.
        """
        if self.digest or self.url is not None:
            return self
        digest = hashlib.sha256(self.data or b"")
        if self.data is None:
            with self.open() as file:
                try:
                    while piece := file.read(_PIECE):
                        digest.update(piece)
                except OSError as error:
                    raise ReferenceImageError(f"reference {self.name} can't be read any more: {error}") from error
                self.check_unchanged(file)
        return replace(self, digest=f"sha256:{digest.hexdigest()}")

    def fingerprinted(self) -> CheckedReference:
        """The same with its fingerprint and, if it is in memory, its digest. Blocking: it reads some of the bytes.

        Raises:
            ReferenceImageError: as ``hashed``.
        """
        if self.fingerprint or self.url is not None:
            return self
        samples = hashlib.sha256()
        starts = range(0, self.size, max(_SAMPLE, self.size // _SAMPLES))
        if self.data is not None:
            for start in starts:
                samples.update(self.data[start : start + _SAMPLE])
            return replace(self.hashed(), fingerprint=f"{self.size}:{samples.hexdigest()}")
        with self.open() as file:
            try:
                for start in starts:
                    file.seek(start)
                    samples.update(file.read(_SAMPLE))
            except OSError as error:
                raise ReferenceImageError(f"reference {self.name} can't be read any more: {error}") from error
        return replace(self, fingerprint=f"{self.size}:{samples.hexdigest()}")

    def open(self) -> BinaryIO:
        """The file, opened again for sending.

        Raises:
            ReferenceImageError: it can't be read any more, or has changed since it was checked.
        """
        try:
            file = open_file(self.path or Path())
        except OSError as error:
            raise ReferenceImageError(f"reference {self.name} can't be read any more: {_reason(error)}") from error
        try:
            self.check_unchanged(file)
        except BaseException:
            file.close()
            raise
        return file

    def check_unchanged(self, file: BinaryIO) -> None:
        """Make sure that an open file is still the one that was checked.

        Raises:
            ReferenceImageError: its size or its modification time has changed.
        """
        now = os.fstat(file.fileno())
        if (now.st_size, now.st_mtime_ns) != (self.size, self.changed_ns) or not stat.S_ISREG(now.st_mode):
            raise self.changed()

    def changed(self) -> ReferenceImageError:
        """The error for a file that has changed."""
        return ReferenceImageError(f"reference {self.name} was changed while the request was being made")


def check_references(
    references: Sequence[Reference], *, max_count: int, max_bytes: int, model: str, mask: Reference | None = None
) -> tuple[CheckedReference, ...]:
    """Check every reference before anything is sent. Blocking: it opens the files.

    Args:
        references: in the order in which the model sees them.
        max_count: how many ``model`` takes.
        max_bytes: how large each may be.
        model: the model id, for the message.
        mask: a picture that marks what to change in the first reference; it comes last in the result.

    Raises:
        ReferenceImageError: too many, or one is missing, unreadable, empty, too large, cut short or of another kind, or
            the mask has other pixels than the first; the message says which one, what was found and what is accepted.
    """
    if len(references) > max_count:
        raise ReferenceImageError(f"{len(references)} references were given; {model} takes at most {max_count}")
    checked = tuple(check_reference(one, number, max_bytes) for number, one in enumerate(references, start=1))
    return checked if mask is None else (*checked, check_mask(mask, checked, max_bytes))


def check_reference(reference: Reference, number: int, max_bytes: int) -> CheckedReference:
    """Check one reference, the one at ``number`` (from 1). Blocking."""
    return _check(reference, reference.name, f"reference {number} ({reference.name})", max_bytes)


def check_mask(mask: Reference, references: Sequence[CheckedReference], max_bytes: int) -> CheckedReference:
    """Check a mask like a reference; it must have the pixels of the first reference, if both are known. Blocking."""
    checked = _check(mask, f"{mask.name} (the mask)", f"the mask ({mask.name})", max_bytes)
    first = references[0] if references else None
    if first is None or first.pixels is None or checked.pixels is None or checked.pixels == first.pixels:
        return checked
    if first.media_type == "image/jpeg" and checked.pixels == first.pixels[::-1]:
        return checked  # a photo that is stored lying on its side is shown, and marked, upright
    raise ReferenceImageError(
        f"the mask ({mask.name}) is {_shape(checked.pixels)} pixels, and the first reference ({first.name}) is "
        f"{_shape(first.pixels)}; a mask has the same pixels as the picture that it marks",
        advice="Draw the mask on a copy of the reference image, or scale it to the same pixels.",
    )


def _shape(pixels: tuple[int, int]) -> str:
    return "{}×{}".format(*pixels)


def _check(reference: Reference, name: str, place: str, max_bytes: int) -> CheckedReference:
    if reference.is_url:
        return CheckedReference(name=name, url=str(reference))
    if reference.in_memory is not None:
        return check_data(reference.in_memory.data(max_bytes), name, place, max_bytes)
    if reference.path is None:
        raise ReferenceImageError(
            f"{place} was loaded from JSON, which holds a picture's digest and not its bytes",
            advice="To use this picture, pass the bytes again.",
        )
    return check_file(reference.path, name, place, max_bytes)


def open_file(path: Path) -> BinaryIO:
    """Open a file for unbuffered reading. This never waits, even if a hostile path names a pipe."""
    return open(path, "rb", buffering=0, opener=_without_waiting)


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # else a named pipe blocks until it has a writer


def check_data(data: bytes, name: str, place: str, max_bytes: int) -> CheckedReference:
    """Check picture bytes in memory. ``place`` names the reference in messages, as in ``reference 2``."""
    _check_size(len(data), place, max_bytes)
    picture = _picture(data, place)
    return CheckedReference(
        name=name, data=data, media_type=picture.media_type, size=len(data), pixels=(picture.width, picture.height)
    )


def check_file(path: Path, name: str, place: str, max_bytes: int) -> CheckedReference:
    """Check that a local file exists, is regular, readable, whole, small enough and of an accepted kind."""
    try:
        with open_file(path) as file:
            facts = os.fstat(file.fileno())
            if not stat.S_ISREG(facts.st_mode):
                raise ReferenceImageError(f"{place} is not a regular file", advice="Give the path of a picture.")
            _check_size(facts.st_size, place, max_bytes)
            picture = _picture(file, place)
    except OSError as error:
        raise ReferenceImageError(f"{place}: {_reason(error)}") from error
    return CheckedReference(
        name=name,
        path=path,
        media_type=picture.media_type,
        size=facts.st_size,
        changed_ns=facts.st_mtime_ns,
        pixels=(picture.width, picture.height),
    )


def _check_size(size: int, place: str, max_bytes: int) -> None:
    if size == 0:
        raise ReferenceImageError(f"{place} is empty")
    if size > max_bytes:
        # Without the size: a stream is read only to one byte beyond the limit.
        raise ReferenceImageError(
            f"{place} is larger than the {_megabytes(max_bytes)} that the endpoint takes",
            advice="Make it smaller, or save it as JPEG.",
        )


def _picture(source: BinaryIO | bytes, place: str) -> Picture:
    try:
        picture = inspect(source)
        check_complete(source, picture)
    except NotAPicture as error:
        advice = None if error.format is None else _HOW_TO_CONVERT.get(error.format, _CONVERT)
        raise ReferenceImageError(f"{place}: {error}; {_ACCEPTED}", advice=advice) from error
    return picture


def _megabytes(size: int) -> str:
    return f"{size / 1024 / 1024:g} MiB" if size >= 1024 * 1024 else f"{size} bytes"


_REASONS: Final[tuple[tuple[type[OSError], str], ...]] = (
    (FileNotFoundError, "there is no such file"),
    (PermissionError, "it may not be read"),
    (IsADirectoryError, "it is a folder, not a picture"),
    (NotADirectoryError, "part of its path is not a folder"),
)


def _reason(error: OSError) -> str:
    for kind, text in _REASONS:
        if isinstance(error, kind):
            return text
    return error.strerror or str(error)
