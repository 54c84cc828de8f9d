"""One process per folder. The system lets go of the lock when its process dies, however it dies.

The lock is a lock on an open file, not the file's existence: after a crash there is nothing to clean up.
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

NAME: Final = ".lock"


class DirectoryLocked(BadRequestError):
    """Another process works in this folder. Nothing was sent."""


class DirectoryLock:
    """Hold ``directory`` for this process, from ``acquire`` to ``release``.

    Args:
        directory: an existing folder.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the folder.

        Raises:
            DirectoryLocked: another process has it; the message says which.
        """
        descriptor = os.open(self._directory / NAME, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _lock(descriptor)
        except OSError:
            holder = _words_of(descriptor)
            os.close(descriptor)
            raise DirectoryLocked(
                f"{self._directory} is in use by {holder}: two batches on one folder would pay twice. Nothing was sent."
            ) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        self._descriptor = descriptor

    def holder(self) -> str | None:
        """Who has the folder now, in words; None if nobody does."""
        try:
            descriptor = os.open(self._directory / NAME, os.O_RDWR)
        except OSError:
            return None
        try:
            _lock(descriptor)
        except OSError:
            return _words_of(descriptor)
        else:
            return None
        finally:
            os.close(descriptor)  # and with it the lock, if it was free

    def release(self) -> None:
        """Let go of it. Letting go twice does no harm."""
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


def _words_of(descriptor: int) -> str:
    return os.read(descriptor, 200).decode("utf-8", "replace").strip() or "another process"


if sys.platform == "win32":
    import msvcrt

    # Windows locks are mandatory: the byte is far behind the text, so that others can read who holds it.
    _FAR: Final = 1 << 20

    def _lock(descriptor: int) -> None:
        os.lseek(descriptor, _FAR, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
