"""Sinks take the bytes of one picture while it is downloaded, and turn them into a saved picture or plain bytes.

A file's sink writes to a temporary file and checks it before it gets a name; ``target.py`` decides on the folder.
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
        """Give the spooled bytes the first name that is free, or whose file holds them already; raises OSError."""


@contextlib.contextmanager
def as_os_errors() -> Iterator[None]:
    """For calls of fsspec: every backend has errors of its own, and code that saves files handles only ``OSError``."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise OSError(f"{type(error).__name__}: {error}") from error


@dataclass(frozen=True, slots=True)
class SavedPicture:
    """A picture that is saved.

    Attributes:
        path: the local path; if ``save_to`` was a URL, the URL of the file.
        picture: media type and pixels, read from the bytes.
        size: bytes.
    """

    path: Path | str
    picture: Picture
    size: int


class PendingFile:
    """A picture that is being saved (an ``operations.Sink``). Any thread may call its methods."""

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
        """Write the next piece.

        Raises:
            OSError: the disk is full, or the like.
            ValueError: ``commit`` or ``discard`` came first.
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
        """Check the bytes and give them their name. After an error, the file can be filled again or discarded.

        Raises:
            NotAPicture: the bytes are not a whole picture.
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
        """Remove the temporary file. Does nothing after ``commit``; calling it twice does no harm."""
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
        """Write the next piece.

        Raises:
            NotAPicture: the picture is larger than ``max_bytes``.
        """
        if len(self._found) + len(data) > self._max_bytes:
            raise NotAPicture(f"it is larger than {self._max_bytes} bytes")
        self._found += data

    def commit(self) -> bytes:
        """The bytes, checked to be a whole picture.

        Raises:
            NotAPicture: they are not one.
        """
        data = bytes(self._found)
        check_complete(data, inspect(data))
        return data
