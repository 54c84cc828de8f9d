"""Answers of another thread on an event loop, many at a time.

``asyncio.wrap_future`` wakes the loop for each future with a system call. The ledger answers a whole group of steps at
once; here one call wakes the loop for all of them.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from concurrent.futures import Future
from typing import Any


class Mailbox:
    """Takes answers for one event loop; made on that loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._arrived: deque[tuple[Future[Any], asyncio.Future[Any]]] = deque()
        self._woken = False

    async def wait(self, future: Future[Any]) -> Any:
        """What ``future`` holds. If the caller is cancelled, the other thread goes on."""
        waiter: asyncio.Future[Any] = self._loop.create_future()
        future.add_done_callback(lambda done: self._arrive(done, waiter))
        return await waiter

    async def wait_at_most(self, future: Future[None], seconds: float) -> None:
        """Wait until ``future`` is done, at most so many seconds."""
        waiter: asyncio.Future[Any] = self._loop.create_future()
        future.add_done_callback(lambda done: self._arrive(done, waiter))
        timer = self._loop.call_later(seconds, _end, waiter)
        try:
            await waiter
        finally:
            timer.cancel()

    def _arrive(self, future: Future[Any], waiter: asyncio.Future[Any]) -> None:
        with self._lock:
            self._arrived.append((future, waiter))
            if self._woken or self._loop.is_closed():
                return
            self._woken = True
            self._loop.call_soon_threadsafe(self._hand_out)

    def _hand_out(self) -> None:
        with self._lock:
            arrived, self._arrived = self._arrived, deque()
            self._woken = False
        for future, waiter in arrived:
            if waiter.done():  # cancelled
                continue
            error = future.exception()
            if error is not None:
                waiter.set_exception(error)
            else:
                waiter.set_result(future.result())


def _end(waiter: asyncio.Future[Any]) -> None:
    if not waiter.done():
        waiter.set_result(None)
