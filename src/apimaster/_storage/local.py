"""A folder on this machine: temporary files in the same folder, which get their names in one step."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_BUFFER: Final = 64 * 1024
_COMPARED: Final = 1024 * 1024
# Errors of a file system without hard links (FAT, some network shares), or of a system that forbids them.
_NO_LINKS: Final = frozenset(
    {errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV, errno.EMLINK}
)


@dataclass(slots=True)
class Spool:
    """A temporary file, open for writing and reading; ``path`` is None if it has no name."""

    file: BinaryIO
    path: Path | None = None

    def clear(self) -> None:
        """Drop the bytes that were written."""
        self.file.seek(0)
        self.file.truncate()

    def drop(self) -> None:
        """Close and remove it."""
        # Closing writes the rest of the buffer, which fails again if the disk is full.
        with contextlib.suppress(OSError):
            self.file.close()
        if self.path is not None:
            with contextlib.suppress(OSError):
                self.path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class LocalFolder:
    """A folder, made at its first use. ``as_url``: the paths of saved files are ``file://`` URLs."""

    path: Path
    as_url: bool = False

    def check(self, names: Iterator[str]) -> None:
        """Make the folder and write a file in it, since no other check of permissions is reliable."""
        self.spool().drop()
        with contextlib.suppress(FileNotFoundError):
            os.lstat(self.path / next(names))  # a name that is too long fails here

    def spool(self) -> Spool:
        """A new file, hidden by its leading dot, with the permissions that the umask leaves."""
        path = self.path / f".apimaster-{secrets.token_hex(8)}.part"
        try:
            return Spool(_create(path), path)
        except FileNotFoundError:
            self.path.mkdir(parents=True, exist_ok=True)
            return Spool(_create(path), path)

    def publish(self, spool: Spool, names: Iterator[str]) -> Path | str:
        """Take the first name that is free, or whose file holds the same bytes."""
        source = spool.path or Path()
        while True:
            place = self.path / next(names)
            if os.name == "nt":  # pragma: no cover
                spool.file.close()  # Windows can't rename an open file
            try:
                _take(source, place)
            except FileExistsError:
                if not _same(source, place):
                    continue
            return place.absolute().as_uri() if self.as_url else place


def _create(path: Path) -> BinaryIO:
    return open(path, "x+b", buffering=_BUFFER)


def _take(source: Path, place: Path) -> None:
    """Give ``source`` the name ``place``, in one step; raises FileExistsError if the name is taken."""
    if os.name == "nt":  # pragma: no cover
        os.rename(source, place)  # refuses a taken name on Windows; elsewhere it would overwrite
        return
    try:
        os.link(source, place)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
    else:
        source.unlink()
        return
    # Without links: take the name with an empty file, which only one writer can do, then replace that file.
    os.close(os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        os.replace(source, place)
    except OSError:
        place.unlink(missing_ok=True)
        raise


def _same(source: Path, place: Path) -> bool:
    """True if ``place`` is a file with the same bytes."""
    try:
        facts = place.stat()
        if not stat.S_ISREG(facts.st_mode) or facts.st_size != source.stat().st_size:
            return False
        with open(source, "rb") as one, open(place, "rb") as other:
            return same_bytes(one, other)
    except OSError:
        return False


def same_bytes(one: BinaryIO, other: BinaryIO) -> bool:
    """Compare two files, from their current positions to their ends."""
    while True:
        left, right = one.read(_COMPARED), other.read(_COMPARED)
        if left != right:
            return False
        if not left:
            return True
