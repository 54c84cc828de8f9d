"""Who uses a folder. Several processes may run one batch; the operating system knows when the last one is gone.

Each process holds a shared lock on an open file for as long as it runs, and at its start an exclusive one for a moment,
if it can get it: then it is alone, and whatever the ledger says of others is left by processes that died. It is a lock
on an open file, not the existence of the file: after a crash there is nothing to clean up.

Earlier versions held the exclusive lock for the whole run, and wrote their name into the file.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path
from typing import Final

from ..errors import BadRequestError

_LOCK_NAME: Final = ".lock"
_PAUSE: Final = 0.02  # seconds between two attempts to get the lock
_PATIENCE: Final = 120.0  # seconds that another process may take to begin a run, with a list of a million lines
_NAMED: Final = 1.0  # seconds after which the name in the file is not that of a process that was killed


class DirectoryLocked(BadRequestError):
    """Another process uses this folder, and shares it with nobody. Nothing was sent."""

    advice = "Wait until that process has ended."


class DirectoryLock:
    """This process's part in the use of ``directory``, from ``acquire`` to ``release``.

    Args:
        directory: an existing folder.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Begin to use the folder. True: nobody else does, and nobody else can before ``share``. Blocks.

        Raises:
            DirectoryLocked: an earlier version of this program uses it, or another process takes too long to begin.
        """
        descriptor = os.open(self._directory / _LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o644)
        started = time.monotonic()
        while True:
            if _lock(descriptor, exclusive=True):
                os.ftruncate(descriptor, 0)
                self._descriptor = descriptor
                return True
            if _lock(descriptor, exclusive=False):
                self._descriptor = descriptor
                return False
            holder, waited = _read_holder(descriptor), time.monotonic() - started
            if waited > (_NAMED if holder else _PATIENCE):
                os.close(descriptor)
                raise DirectoryLocked(f"{self._directory} is in use by {holder or 'another process'}")
            time.sleep(_PAUSE)

    def share(self) -> None:
        """Let others in, after an ``acquire`` that found this process to be alone."""
        if self._descriptor is not None:
            _share(self._descriptor)

    def is_last(self) -> bool:
        """Whether nobody else uses the folder any more; to be asked right before ``release``."""
        return self._descriptor is not None and _lock(self._descriptor, exclusive=True)

    def in_use(self) -> tuple[bool, str | None]:
        """Whether a process uses the folder; and its name, where it is one of an earlier version."""
        try:
            descriptor = os.open(self._directory / _LOCK_NAME, os.O_RDWR)
        except OSError:
            return False, None
        try:
            if _lock(descriptor, exclusive=True):
                return False, None
            return True, _read_holder(descriptor)
        finally:
            os.close(descriptor)  # and with it the lock, if it was free

    def release(self) -> None:
        """End the use of the folder. A second call does no harm."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with contextlib.suppress(OSError):
                os.close(descriptor)


def _read_holder(descriptor: int) -> str | None:
    os.lseek(descriptor, 0, os.SEEK_SET)
    return os.read(descriptor, 200).decode("utf-8", "replace").strip() or None


if sys.platform == "win32":
    import msvcrt

    # Windows has no shared locks here: a process that shares holds one byte of some, and one that is alone holds all.
    # They lie far behind the text, since a lock also keeps others from reading. Earlier versions held the first one.
    _FIRST: Final = 1 << 20
    _BYTES: Final = 64

    def _lock(descriptor: int, *, exclusive: bool) -> bool:
        places = [(_FIRST, _BYTES)] if exclusive else [(_FIRST + each, 1) for each in range(1, _BYTES)]
        for place, size in places:
            os.lseek(descriptor, place, os.SEEK_SET)
            try:
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, size)
            except OSError:
                continue
            return True
        return False

    def _share(descriptor: int) -> None:
        os.lseek(descriptor, _FIRST, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, _BYTES)
        _lock(descriptor, exclusive=False)

else:
    import fcntl

    def _lock(descriptor: int, *, exclusive: bool) -> bool:
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def _share(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
