"""A few threads for what would hold the event loop up: drawing pictures, reading bodies of many megabytes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Workers:
    """Two threads, made when first needed, gone after ``close``."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do ``work`` on one of the threads."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(2, thread_name_prefix="apimaster-emulator-worker")
        future = self._pool.submit(work, *args, **kwargs)
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Drop what has not begun, finish what has (a 4K picture: some 300 ms at most), end the threads."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None
