"""The list of idle connections: last in, first out, by origin.

The server is least likely to have closed the connection that was used last. The oldest ones are at the other end, where
a sweep removes those that expired. No request searches the list, so it costs the same with one connection as with a
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


class PooledConnection(Generic[Connection]):
    """One connection, a function that closes it without waiting, and the time since which it is idle."""

    __slots__ = ("connection", "hang_up", "idle_since", "origin")

    def __init__(self, origin: httpcore.Origin, connection: Connection, hang_up: Callable[[], None]) -> None:
        self.origin = origin
        self.connection: Connection = connection
        self.hang_up = hang_up
        self.idle_since = 0.0


class IdleConnections(Generic[Connection]):
    """Idle connections by origin, last in, first out. Safe to share between threads."""

    def __init__(
        self, *, keepalive: float = KEEPALIVE, max_idle: int = MAX_IDLE, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._keepalive = keepalive
        self._max_idle = max_idle
        self._clock = clock
        self._idle: dict[tuple[bytes, bytes, int], deque[PooledConnection[Connection]]] = {}
        self._count = 0
        self._next_sweep = 0.0
        self._closed = False
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self._count

    def take(self, origin: httpcore.Origin, *, max_age: float) -> PooledConnection[Connection] | None:
        """The connection to ``origin`` that was used last, if it is open and idle for at most ``max_age`` seconds."""
        while True:
            with self._lock:
                now = self._clock()
                dead = self._sweep(now)
                stack = self._idle.get((origin.scheme, origin.host, origin.port))
                pooled = None
                if stack and now - stack[-1].idle_since <= max_age:
                    pooled = stack.pop()
                    self._count -= 1
            for other in dead:
                other.hang_up()
            if pooled is None or not pooled.connection.has_expired():
                return pooled
            pooled.hang_up()  # the server has closed it in the meantime

    def give_back(self, pooled: PooledConnection[Connection]) -> None:
        """Keep ``pooled`` for the next request if it can carry one; else close it."""
        surplus: PooledConnection[Connection] | None = pooled
        if pooled.connection.is_idle():
            with self._lock:
                if not self._closed:
                    pooled.idle_since = self._clock()
                    key = (pooled.origin.scheme, pooled.origin.host, pooled.origin.port)
                    self._idle.setdefault(key, deque()).append(pooled)
                    self._count += 1
                    surplus = self._drop_oldest() if self._count > self._max_idle else None
        if surplus is not None:
            surplus.hang_up()

    def close(self) -> None:
        """Close all idle connections, and from now on each one that is given back."""
        with self._lock:
            self._closed = True
            stack = [pooled for stack in self._idle.values() for pooled in stack]
            self._idle.clear()
            self._count = 0
        for pooled in stack:
            pooled.hang_up()

    def _drop_oldest(self) -> PooledConnection[Connection]:
        stack = min((stack for stack in self._idle.values() if stack), key=lambda stack: stack[0].idle_since)
        self._count -= 1
        return stack.popleft()

    def _sweep(self, now: float) -> list[PooledConnection[Connection]]:
        # The oldest are at the left, so a sweep, once a second, reads those that it removes and one more per origin.
        dead: list[PooledConnection[Connection]] = []
        if now < self._next_sweep:
            return dead
        self._next_sweep = now + 1.0
        for key, stack in list(self._idle.items()):
            while stack and now - stack[0].idle_since > self._keepalive:
                dead.append(stack.popleft())
            if not stack:
                del self._idle[key]
        self._count -= len(dead)
        return dead
