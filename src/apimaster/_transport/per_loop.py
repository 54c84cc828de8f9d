"""One value for each event loop, closed with its loop. Only this module knows on which loops a client is used.

An asyncio connection belongs to the event loop that opened it, and one client is used on several: ``asyncio.run``
twice, or a loop in each of several threads. So each loop has a value of its own, which holds its connections and is
closed

- when its loop shuts down in order: ``asyncio.run`` closes the asynchronous generators that were started on the loop,
  and one of them, started here, waits for that;
- with its owner: ``aclose`` may be called on any loop;
- when a later call finds its loop closed: without awaiting, since that loop can't run any more (``abandon``).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from typing import Generic, TypeVar

T = TypeVar("T")


class PerLoop(Generic[T]):
    """The value of each event loop. Safe to share between threads, each with a loop of its own.

    Args:
        make: makes the value for the running loop.
        close: closes a value, on its own loop.
        abandon: closes a value whose loop can't run any more; must not raise.
    """

    def __init__(
        self, make: Callable[[], T], *, close: Callable[[T], Awaitable[None]], abandon: Callable[[T], None]
    ) -> None:
        self._make = make
        self._close = close
        self._abandon = abandon
        self._values: dict[asyncio.AbstractEventLoop, T] = {}
        # The garbage collector would finish an asynchronous generator that nothing refers to.
        self._generators: dict[asyncio.AbstractEventLoop, AsyncGenerator[None, None]] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._values)

    def get(self) -> T:
        """The value of the running loop, made at the first call on it."""
        loop = asyncio.get_running_loop()
        try:
            return self._values[loop]
        except KeyError:
            self._forget_closed_loops()
            value = self._make()
            generator = self._until_the_loop_ends(loop)
            with suppress(StopIteration):  # now the generator waits at its yield, and the loop knows it
                generator.__anext__().send(None)
            with self._lock:
                self._values[loop], self._generators[loop] = value, generator
            return value

    async def aclose(self) -> None:
        """Close the values of all loops. The running loop's value is closed when this returns.

        Another loop closes its own value if it runs; if it does not, the value is abandoned.
        """
        mine = asyncio.get_running_loop()
        self._forget_closed_loops()
        with self._lock:
            others = [(loop, *self._take(loop)) for loop in list(self._values) if loop is not mine]
        for loop, value, generator in others:
            closing = self._close_one(value, generator)
            try:
                if not loop.is_running():
                    raise RuntimeError("the loop does not run")  # noqa: TRY301  # the same as if it closed just now
                asyncio.run_coroutine_threadsafe(closing, loop)
            except RuntimeError:
                closing.close()
                self._abandon(value)
        with self._lock:
            found = self._take(mine) if mine in self._values else None
        if found is not None:
            await self._close_one(*found)

    def _take(self, loop: asyncio.AbstractEventLoop) -> tuple[T, AsyncGenerator[None, None]]:
        return self._values.pop(loop), self._generators.pop(loop)

    async def _close_one(self, value: T, generator: AsyncGenerator[None, None]) -> None:
        await self._close(value)
        await generator.aclose()

    async def _until_the_loop_ends(self, loop: asyncio.AbstractEventLoop) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            with self._lock:
                found = self._take(loop) if loop in self._values else None
            if found is not None:
                await self._close(found[0])

    def _forget_closed_loops(self) -> None:
        with self._lock:
            values = [self._take(loop)[0] for loop in list(self._values) if loop.is_closed()]
        for value in values:
            self._abandon(value)
