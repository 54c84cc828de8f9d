"""A disk for a SQLite ledger that a test fills, or makes read-only.

``MountedDisk`` is a small file system of its own, which root may mount where a container allows it. ``LimitedDisk``
needs no right: a limit on the size of files stops the ledger's log from growing, and SQLite itself refuses writes.
"""

from __future__ import annotations

import os
import resource
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Protocol

from apimaster.ledger import Ledger


class Disk(Protocol):
    folder: Path

    def fill(self) -> None:
        """The ledger's log can't grow any more."""

    def free(self) -> None:
        """It can again."""

    def make_read_only(self, ledger: Ledger) -> Ledger:
        """Nothing can be written any more; gives a ledger at the same place that is not open, or stays open."""

    def make_writable(self, ledger: Ledger) -> Ledger:
        """It can again."""

    def remove(self) -> None:
        """Everything is as it was."""


class MountedDisk:
    """A file system in memory, of 1 MiB."""

    def __init__(self, parent: Path) -> None:
        self.folder = parent / "disk"
        self.folder.mkdir()
        _run("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(self.folder))

    def fill(self) -> None:
        filesystem = os.statvfs(self.folder)
        with (self.folder / "filler").open("wb", buffering=0) as file:
            os.posix_fallocate(file.fileno(), 0, filesystem.f_bavail * filesystem.f_frsize)
        assert os.statvfs(self.folder).f_bavail == 0

    def free(self) -> None:
        (self.folder / "filler").unlink(missing_ok=True)

    def make_read_only(self, ledger: Ledger) -> Ledger:
        ledger.close()  # a file system with a file that is open for writing can't become read-only
        _run("mount", "-o", "remount,ro", str(self.folder))
        return Ledger(ledger.location)

    def make_writable(self, ledger: Ledger) -> Ledger:
        ledger.close()
        _run("mount", "-o", "remount,rw", str(self.folder))
        return Ledger.open(str(ledger.location.path))

    def remove(self) -> None:
        _run("umount", "--lazy", str(self.folder))


class LimitedDisk:
    """A folder on whichever disk; it holds for all files of this process, so only for those that are larger."""

    def __init__(self, parent: Path) -> None:
        self.folder = parent / "disk"
        self.folder.mkdir()
        self._before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(self) -> None:
        (log,) = self.folder.glob("*-wal")
        resource.setrlimit(resource.RLIMIT_FSIZE, (log.stat().st_size, self._before[1]))

    def free(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self._before)

    def make_read_only(self, ledger: Ledger) -> Ledger:
        ledger.call(lambda each: _pragma(each, "query_only = 1")).result()
        return ledger

    def make_writable(self, ledger: Ledger) -> Ledger:
        ledger.call(lambda each: _pragma(each, "query_only = 0")).result()
        return ledger

    def remove(self) -> None:
        self.free()


def _pragma(backend: Any, text: str) -> None:
    backend.connection.execute(f"PRAGMA {text}")


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=30)


def can_mount() -> bool:
    """Whether this process may mount a file system."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            MountedDisk(Path(folder)).remove()
        except (OSError, subprocess.SubprocessError):
            return False
        return True


DISKS: tuple[type[MountedDisk] | type[LimitedDisk], ...] = (MountedDisk, LimitedDisk) if can_mount() else (LimitedDisk,)
