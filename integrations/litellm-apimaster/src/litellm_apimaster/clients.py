"""The core's clients: one per account, and one more per event loop; few, shared, and closed.

An account is a key at a base URL. Blocking clients are shared by all threads. An asyncio client belongs to the loop
that it was made on: LiteLLM calls a handler in a worker thread and awaits what it returns on the caller's loop, so
the loop is looked up only inside the coroutine. What a loop opened is closed when the loop ends, by the hook that
asyncio has for it: an asynchronous generator that is still waiting when the loop shuts down is told to finish.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar
from weakref import WeakKeyDictionary

from apimaster import APIMaster, AsyncAPIMaster
from apimaster.settings import resolve

LIMIT: Final = 64
"""Accounts with an open client, per kind and loop. More than that, and the least recently used one is closed."""

C = TypeVar("C")


@dataclass(frozen=True, slots=True)
class Account:
    """A key at a base URL."""

    api_key: str = field(repr=False)
    base_url: str


def resolve_account(api_key: str | None, base_url: str | None) -> Account:
    """What LiteLLM handed over, completed by the core's own settings (environment, config file).

    Raises:
        AuthenticationError: there is no key.
        BadRequestError: the base URL is not one.
    """
    found = resolve(api_key or None, base_url or None)
    return Account(found.api_key.get_secret_value(), found.base_url)


@dataclass(slots=True)
class _Slot(Generic[C]):
    client: C
    users: int = 0


class _Shelf(Generic[C]):
    """Clients by account, the least recently used first. Not locked: its owner sees to that."""

    def __init__(self, make: Callable[[Account], C], limit: int) -> None:
        self._make = make
        self._limit = limit
        self.slots: OrderedDict[Account, _Slot[C]] = OrderedDict()

    def take(self, name: Account) -> _Slot[C]:
        slot = self.slots.get(name)
        if slot is None:
            slot = self.slots[name] = _Slot(self._make(name))
        self.slots.move_to_end(name)
        slot.users += 1
        return slot

    def give_back(self, slot: _Slot[C]) -> list[C]:
        """Returns what is now to be closed: too many, and not in use."""
        slot.users -= 1
        surplus = len(self.slots) - self._limit
        if surplus <= 0:
            return []
        idle = [name for name, each in self.slots.items() if not each.users][:surplus]
        return [self.slots.pop(name).client for name in idle]

    def clear(self) -> list[C]:
        clients = [slot.client for slot in self.slots.values()]
        self.slots.clear()
        return clients


class ClientCache:
    """All clients of one provider. Safe to share between threads and loops."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._blocking = _Shelf(_blocking_client, limit)
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, _LoopShelf] = WeakKeyDictionary()
        atexit.register(self.close)
        # A forked child must not share connections with its parent.
        os.register_at_fork(after_in_child=self._forget)

    def __deepcopy__(self, memo: object) -> ClientCache:
        return self  # LiteLLM copies its configuration; connections can't be copied

    @contextmanager
    def blocking(self, name: Account) -> Iterator[APIMaster]:
        """The blocking client of an account, for as long as the block lasts."""
        with self._lock:
            slot = self._blocking.take(name)
        try:
            yield slot.client
        finally:
            with self._lock:
                surplus = self._blocking.give_back(slot)
            for client in surplus:
                client.close()

    @asynccontextmanager
    async def running(self, name: Account) -> AsyncIterator[AsyncAPIMaster]:
        """The asyncio client of an account on the running loop, for as long as the block lasts."""
        shelf = await self._shelf()
        slot = shelf.take(name)
        try:
            yield slot.client
        finally:
            for client in shelf.give_back(slot):
                await client.aclose()

    def count(self) -> int:
        """How many clients are open, of both kinds and on all loops."""
        with self._lock:
            return len(self._blocking.slots) + sum(len(shelf.slots) for shelf in self._loops.values())

    def close(self) -> None:
        """Close the blocking clients. Those of a loop end with their loop, or with ``aclose`` on it."""
        with self._lock:
            clients = self._blocking.clear()
        for client in clients:
            client.close()

    async def aclose(self) -> None:
        """Close the clients of the running loop."""
        with self._lock:
            shelf = self._loops.pop(asyncio.get_running_loop(), None)
        if shelf is not None and shelf.ending is not None:
            await shelf.ending.aclose()

    async def _shelf(self) -> _LoopShelf:
        loop = asyncio.get_running_loop()
        shelf = self._loops.get(loop)
        if shelf is None:
            shelf = _LoopShelf(_running_client, self._limit)
            with self._lock:
                self._loops[loop] = shelf
            shelf.ending = _close_at_the_end(shelf)
            await anext(shelf.ending)
        return shelf

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._blocking = _Shelf(_blocking_client, self._limit)
        self._loops = WeakKeyDictionary()


class _LoopShelf(_Shelf[AsyncAPIMaster]):
    """The clients of one loop, and what closes them when it ends."""

    ending: AsyncGenerator[None, None] | None = None


async def _close_at_the_end(shelf: _LoopShelf) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        for client in shelf.clear():
            await client.aclose()


def _blocking_client(name: Account) -> APIMaster:
    return APIMaster(name.api_key, base_url=name.base_url)


def _running_client(name: Account) -> AsyncAPIMaster:
    return AsyncAPIMaster(name.api_key, base_url=name.base_url)
