"""After how much silence a process is taken for dead, in the eyes of this one."""

from __future__ import annotations

import time


class Lease:
    """The lease by which this process judges the others.

    If this process could not reach the store for a while, or was suspended, the others' signs of life are old for the
    same reason: the store was away, or the machine slept, or its clock was put forward. So for one lease after that,
    they get as much more time as this process lost.

    Args:
        heartbeat: seconds between two signs of life.
        lease: seconds without one after which a process is taken for dead.
    """

    def __init__(self, heartbeat: float, lease: float) -> None:
        self._heartbeat = heartbeat
        self._lease = lease
        self._reached: tuple[float, float] | None = None
        self._lost = 0.0
        self._until = float("-inf")

    @property
    def seconds(self) -> float:
        """The lease now; to be asked right before a transaction."""
        now, wall = time.monotonic(), time.time()
        if self._reached is not None:
            # A machine that sleeps stops the one clock, and a clock that is put forward is only the other one.
            silence = max(now - self._reached[0], wall - self._reached[1])
            if silence > 2 * self._heartbeat:
                self._lost, self._until = silence, now + self._lease
        return self._lease + (self._lost if now < self._until else 0.0)

    def reached(self) -> None:
        """A transaction has succeeded."""
        self._reached = time.monotonic(), time.time()
