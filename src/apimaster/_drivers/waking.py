"""A sleep that another thread can end, in the blocking driver: by what it waits for, or by the end of a sibling flow.

A thread waits for one event at a time. So both set the same one, and nobody looks again and again.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from concurrent.futures import Future


class Stop(threading.Event):
    """The end of flows that run side by side: it also wakes those that sleep until something else happens."""

    def __init__(self) -> None:
        super().__init__()
        self._sleepers: set[threading.Event] = set()
        self._guard = threading.Lock()

    def set(self) -> None:
        """Stop, and wake whoever sleeps."""
        super().set()
        with self._guard:
            for sleeper in self._sleepers:
                sleeper.set()

    def add(self, sleeper: threading.Event) -> None:
        """Set ``sleeper`` as well; at once if the stop is set already."""
        with self._guard:
            self._sleepers.add(sleeper)
        if self.is_set():
            sleeper.set()

    def remove(self, sleeper: threading.Event) -> None:
        """Forget ``sleeper``."""
        with self._guard:
            self._sleepers.discard(sleeper)


def sleep_until(future: Future[None], seconds: float, stop: Stop | None) -> None:
    """Sleep until ``future`` is done or ``stop`` is set, at most so many seconds."""
    woken = threading.Event()
    future.add_done_callback(lambda _: woken.set())
    if stop is None:
        woken.wait(seconds)
        return
    stop.add(woken)
    try:
        woken.wait(seconds)
    finally:
        stop.remove(woken)
