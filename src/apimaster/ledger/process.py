"""The writer of this process: started when it is needed, made anew after a fork, closed when the program ends."""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections.abc import Callable
from typing import Final

from .group_writer import GroupWriter, closed

_AT_EXIT: Final = 5.0  # seconds that a program which ends waits for the last steps

_writers: dict[GroupWriter, int] = {}
"""Writers that are not closed, each with the process that started it.

A fork keeps those of its parent, and does not use them: their connections are the parent's, and to let go of one would
close it.
"""

_processes: weakref.WeakSet[ProcessWriter] = weakref.WeakSet()


class ProcessWriter:
    """Gives the writer of the process that asks.

    Args:
        make: starts a writer.
    """

    def __init__(self, make: Callable[[], GroupWriter]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._writer: GroupWriter | None = None
        self._pid = 0
        self.closed = False
        _processes.add(self)

    def get(self) -> GroupWriter:
        """The writer; a new one if there is none, if the store could not be opened, or after a fork.

        Raises:
            LedgerError: it is closed.
        """
        writer = self._writer
        if writer is not None and self._usable(writer):
            return writer
        with self._lock:
            if self.closed:
                raise closed()
            if self._writer is None or not self._usable(self._writer):
                if self._writer is not None and self._writer.failed:
                    _writers.pop(self._writer, None)
                self._writer, self._pid = self._make(), os.getpid()
                _writers[self._writer] = self._pid
            return self._writer

    def close(self) -> None:
        """Write what is waiting, and stop. Closing twice does no harm."""
        with self._lock:
            writer, self._writer, self.closed = self._writer, None, True
            mine = self._pid == os.getpid()
        if writer is not None and mine:
            writer.close()
            _writers.pop(writer, None)

    def _usable(self, writer: GroupWriter) -> bool:
        return self._pid == os.getpid() and not writer.failed


def _renew_locks() -> None:
    """After a fork: a thread of the other process may have held them."""
    for process in _processes:
        process._lock = threading.Lock()


def _close_all() -> None:
    """Write the last steps of a program that ends, such as that it stops work on an image that is paid for."""
    for writer, pid in list(_writers.items()):
        if pid == os.getpid():
            writer.close(timeout=_AT_EXIT)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)
atexit.register(_close_all)
