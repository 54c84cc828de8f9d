"""The list of idle connections: last in, first out, by origin.

The connection that was used last is the one that the server has least likely closed. The oldest lie at the other end,
where expired ones are swept off. Nothing is ever searched, so a request costs the same with one connection and with a
thousand.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final, Generic, TypeVar

import httpcore

KEEPALIVE: Final = 55.0
"""Seconds after which an idle connection is closed: just below the minute that many load balancers allow."""
MAX_IDLE: Final = 256

Connection = TypeVar("Connection", httpcore.HTTP11Connection, httpcore.AsyncHTTP11Connection)


class Line(Generic[Connection]):
    """One connection, how to cut it off without waiting, and since when it has been idle."""

    __slots__ = ("connection", "hang_up", "idle_since", "origin")

    def __init__(self, origin: httpcore.Origin, connection: Connection, hang_up: Callable[[], None]) -> None:
        self.origin = origin
        self.connection: Connection = connection
        self.hang_up = hang_up
        self.idle_since = 0.0


class IdleLines(Generic[Connection]):
    """Idle connections by origin, last in, first out. Safe to share between threads."""

    def __init__(
        self, *, keepalive: float = KEEPALIVE, max_idle: int = MAX_IDLE, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._keepalive = keepalive
        self._max_idle = max_idle
        self._clock = clock
        self._idle: dict[tuple[bytes, bytes, int], deque[Line[Connection]]] = {}
        self._count = 0
        self._next_sweep = 0.0
        self._closed = False
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self._count

    def take(self, origin: httpcore.Origin, *, max_age: float) -> Line[Connection] | None:
        """The connection to ``origin`` that was used last, if within ``max_age`` seconds and still open."""
        while True:
            with self._lock:
                now = self._clock()
                dead = self._sweep(now)
                lines = self._idle.get((origin.scheme, origin.host, origin.port))
                line = None
                if lines and now - lines[-1].idle_since <= max_age:
                    line = lines.pop()
                    self._count -= 1
            for other in dead:
                other.hang_up()
            if line is None or not line.connection.has_expired():
                return line
            line.hang_up()  # the server has closed it meanwhile

    def give_back(self, line: Line[Connection]) -> None:
        """Keep ``line`` for the next request if it can carry one, else cut it off."""
        surplus: Line[Connection] | None = line
        if line.connection.is_idle():
            with self._lock:
                if not self._closed:
                    line.idle_since = self._clock()
                    key = (line.origin.scheme, line.origin.host, line.origin.port)
                    self._idle.setdefault(key, deque()).append(line)
                    self._count += 1
                    surplus = self._drop_oldest() if self._count > self._max_idle else None
        if surplus is not None:
            surplus.hang_up()

    def close(self) -> None:
        """Cut off all idle connections, and from now on each one that is given back."""
        with self._lock:
            self._closed = True
            lines = [line for lines in self._idle.values() for line in lines]
            self._idle.clear()
            self._count = 0
        for line in lines:
            line.hang_up()

    def _drop_oldest(self) -> Line[Connection]:
        lines = min((lines for lines in self._idle.values() if lines), key=lambda lines: lines[0].idle_since)
        self._count -= 1
        return lines.popleft()

    def _sweep(self, now: float) -> list[Line[Connection]]:
        # The oldest are at the left, so this looks at what it removes and at one more per origin, once a second.
        dead: list[Line[Connection]] = []
        if now < self._next_sweep:
            return dead
        self._next_sweep = now + 1.0
        for key, lines in list(self._idle.items()):
            while lines and now - lines[0].idle_since > self._keepalive:
                dead.append(lines.popleft())
            if not lines:
                del self._idle[key]
        self._count -= len(dead)
        return dead
