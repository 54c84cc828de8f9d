"""Picture bytes that are in memory, or will be at first use: bytes, an open file, a PIL image.

An open file is read once, from its current position (from its beginning, if that is its end), and an image is encoded
once. The bytes are kept, since a request
may be sent several times (four images of one prompt, a retry), and not every file can be read twice.
"""

from __future__ import annotations

import hashlib
import threading
from typing import Any, BinaryIO, Protocol, runtime_checkable

from ..catalog import MAX_REFERENCE_BYTES
from ..errors import ReferenceImageError
from .pillow import png_of


@runtime_checkable
class ImageLike(Protocol):
    """A PIL image, recognised by its methods, so that this package need not import PIL."""

    @property
    def mode(self) -> str: ...
    @property
    def size(self) -> tuple[int, int]: ...
    def save(self, fp: Any, format: str | None = None, **params: Any) -> None: ...  # noqa: A002 - PIL's own name
    def convert(self, mode: str | None = None) -> Any: ...


def file_within(value: object) -> object:
    """The open file of an upload as web frameworks hand it over, whose own ``read`` is asynchronous; else ``value``."""
    within = getattr(value, "file", None)
    return within if callable(getattr(within, "read", None)) and hasattr(value, "filename") else value


class PictureInMemory:
    """The bytes behind one reference. Safe to share between threads."""

    __slots__ = ("_digest", "_lock", "_source", "name")

    def __init__(self, source: bytes | BinaryIO | ImageLike) -> None:
        self._source = source
        self._digest: str | None = None
        self._lock = threading.Lock()
        self.name = _name(source)

    def data(self, limit: int = MAX_REFERENCE_BYTES) -> bytes:
        """The bytes; blocks if they have yet to be read or encoded.

        Args:
            limit: the largest size that the picture may have; of a larger file, one byte more than this is read.

        Raises:
            ReferenceImageError: the file can't be read, or the image can't be encoded.
        """
        with self._lock:
            if not isinstance(self._source, bytes):
                source = self._source
                self._source = png_of(source) if isinstance(source, ImageLike) else _read(source, self.name, limit)
            return self._source

    def digest(self) -> str:
        """``sha256:…`` of the bytes, which stands for them in JSON."""
        if self._digest is None:
            self._digest = "sha256:" + hashlib.sha256(self.data()).hexdigest()
        return self._digest

    def __reduce__(self) -> tuple[object, ...]:
        # Locks and open files can't be pickled; bytes can.
        return (PictureInMemory, (self.data(),))

    def __deepcopy__(self, memo: object) -> PictureInMemory:
        return self  # never changes once read, and an open file can't be copied


def _read(file: BinaryIO, name: str, limit: int) -> bytes:
    """The rest of the file; all of it if nothing is left and it can be read again: somebody has just written it."""
    try:
        found = _rest(file, limit)
        if not found and _can_seek(file):
            file.seek(0)
            found = _rest(file, limit)
    except (OSError, ValueError, TypeError) as error:
        raise ReferenceImageError(f"reference {name} can't be read: {error}") from error
    return found


def _rest(file: BinaryIO, limit: int) -> bytes:
    found = bytearray()
    while len(found) <= limit and (piece := file.read(limit + 1 - len(found))):
        found += piece
    return bytes(found)


def _can_seek(file: BinaryIO) -> bool:
    seekable = getattr(file, "seekable", None)
    return bool(seekable()) if callable(seekable) else False


def _name(source: bytes | BinaryIO | ImageLike) -> str:
    if isinstance(source, bytes):
        return f"{len(source)} bytes in memory"
    if isinstance(source, ImageLike):
        return "PIL image {}×{}".format(*source.size)
    name = getattr(source, "name", None)
    return f"open file {name}" if isinstance(name, str) else "open file"
