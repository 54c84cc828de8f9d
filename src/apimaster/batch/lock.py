"""One process per folder. The operating system releases the lock when the process dies, however it dies.

It is a lock on an open file, not the existence of the file: after a crash there is nothing to clean up.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..errors import BadRequestError

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

_LOCK_NAME: Final = ".lock"


class DirectoryLocked(BadRequestError):
    """Another process uses this folder. Nothing was sent."""

    advice = "Wait until that process has ended: two batches in one folder would pay twice."


class DirectoryLock:
    """Locks ``directory`` for this process, from ``acquire`` to ``release``.

    Args:
        directory: an existing folder.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Lock the folder.

        Raises:
            DirectoryLocked: another process has locked it; the message names the process.
        """
        descriptor = os.open(self._directory / _LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _lock(descriptor)
        except OSError:
            holder = _read_holder(descriptor)
            os.close(descriptor)
            raise DirectoryLocked(f"{self._directory} is in use by {holder}") from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        self._descriptor = descriptor

    def holder(self) -> str | None:
        """Which process has locked the folder, such as ``process 12 on host``; None if none has."""
        try:
            descriptor = os.open(self._directory / _LOCK_NAME, os.O_RDWR)
        except OSError:
            return None
        try:
            _lock(descriptor)
        except OSError:
            return _read_holder(descriptor)
        else:
            return None
        finally:
            os.close(descriptor)  # and with it the lock, if it was free

    def release(self) -> None:
        """Unlock the folder. A second call does no harm."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, 0)
            os.close(descriptor)

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _read_holder(descriptor: int) -> str:
    return os.read(descriptor, 200).decode("utf-8", "replace").strip() or "another process"


if sys.platform == "win32":
    import msvcrt

    # A lock on Windows also keeps others from reading. So it covers a byte far behind the text that names the process.
    _LOCKED_BYTE: Final = 1 << 20

    def _lock(descriptor: int) -> None:
        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
