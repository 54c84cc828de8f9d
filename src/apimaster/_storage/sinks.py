"""Sinks: where the bytes of one picture go while it is fetched, and how they become a saved picture or plain bytes.

A file's sink writes to a temporary file and looks at what arrived before it gets a name; see ``target.py`` for where.
"""

from __future__ import annotations

import contextlib
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from .._images.inspect import NotAPicture, Picture, check_complete, inspect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .file_names import Name
    from .local import Spool


class Folder(Protocol):
    """A place that holds files: on this machine, or behind fsspec."""

    def check(self, names: Iterator[str]) -> None:
        """Make sure that files with such names can be written; raises OSError."""

    def spool(self) -> Spool:
        """A new temporary file that can be read back."""

    def publish(self, spool: Spool, names: Iterator[str]) -> Path | str:
        """Give the spooled bytes the first free name, or find them there already; raises OSError."""


@contextlib.contextmanager
def as_os_errors() -> Iterator[None]:
    """Around calls of fsspec: every backend brings its own errors, and whoever saves files knows ``OSError`` only."""
    try:
        yield
    except OSError:
        raise
    except Exception as wrong:
        raise OSError(f"{type(wrong).__name__}: {wrong}") from wrong


@dataclass(frozen=True, slots=True)
class SavedPicture:
    """A picture that has its place.

    Attributes:
        path: the local path; for a ``save_to`` that was a URL, the URL of the file.
        picture: media type and pixels, read from the bytes.
        size: bytes.
    """

    path: Path | str
    picture: Picture
    size: int


class PendingFile:
    """A picture on its way to its place (an ``operations.Sink``). Any thread may call its methods."""

    def __init__(self, folder: Folder, name: Name) -> None:
        self._folder = folder
        self._name = name
        self._spool: Spool | None = None
        self._stale = False
        self._over = False
        self._lock = threading.Lock()  # a cancelled download is discarded while a thread may still be writing

    def reset(self) -> None:
        """Start over with the next ``write``."""
        self._stale = True

    def write(self, data: bytes) -> None:
        """Take the next piece.

        Raises:
            OSError: the disk is full, or the like.
            ValueError: it was committed or discarded before.
        """
        with self._lock:
            if self._over:
                raise ValueError("the file was committed or discarded")
            if self._spool is None:
                self._spool = self._folder.spool()
            if self._stale:
                self._spool.clear()
            self._stale = False
            self._spool.file.write(data)

    def commit(self) -> SavedPicture:
        """Look at the bytes and put them in their place. After an error it can be filled again, or discarded.

        Raises:
            NotAPicture: what was written is not a whole picture.
            OSError: it could not be written.
        """
        with self._lock:
            if self._over:
                raise ValueError("the file was committed or discarded")
            if self._spool is None or self._stale:
                raise NotAPicture("it is empty")
            file = self._spool.file
            file.flush()
            picture = inspect(file)
            check_complete(file, picture)
            size = file.seek(0, os.SEEK_END)
            path = self._folder.publish(self._spool, self._name.candidates(picture.ending))
            self._over = True
            self._spool.drop()
            return SavedPicture(path, picture, size)

    def discard(self) -> None:
        """Leave nothing behind. Does nothing after ``commit``; can be called twice."""
        with self._lock:
            if not self._over and self._spool is not None:
                self._spool.drop()
            self._over = True


class MemorySink:
    """A picture kept in memory (an ``operations.Sink``), at most ``max_bytes`` of it."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._found = bytearray()

    def reset(self) -> None:
        """Start over."""
        self._found.clear()

    def write(self, data: bytes) -> None:
        """Take the next piece.

        Raises:
            NotAPicture: it is more than ``max_bytes`` in all.
        """
        if len(self._found) + len(data) > self._max_bytes:
            raise NotAPicture(f"it is larger than {self._max_bytes} bytes")
        self._found += data

    def commit(self) -> bytes:
        """The bytes, which are one whole picture.

        Raises:
            NotAPicture: they are not.
        """
        data = bytes(self._found)
        check_complete(data, inspect(data))
        return data
