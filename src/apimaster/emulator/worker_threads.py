"""Two threads for work that would block the event loop: drawing pictures, reading bodies of many megabytes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class WorkerThreads:
    """The threads start when there is work, and end after ``close``.

    Attributes:
        closing: set by ``close``. Long work looks at it and gives up, since nobody waits for its result any more.
    """

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._unfinished: set[Future[Any]] = set()
        self.closing = threading.Event()

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do ``work`` on one of the threads."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(2, thread_name_prefix="apimaster-emulator-worker")
        future = self._pool.submit(work, *args, **kwargs)
        self._unfinished.add(future)
        future.add_done_callback(self._unfinished.discard)
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Drop the work that waits and tell the running work to give up, without waiting for it.

        Idle threads have ended when this returns. An emulator that starts again gets new threads.
        """
        pool, self._pool = self._pool, None
        closing, self.closing = self.closing, threading.Event()
        closing.set()
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)
            if not self._unfinished:
                pool.shutdown(wait=True)
