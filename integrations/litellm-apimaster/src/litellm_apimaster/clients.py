"""The core's clients: for each account one blocking and one asyncio client, shared by all calls.

An account is a key at a base URL. All threads share its blocking client, and all event loops its asyncio client, which
keeps connections for each loop and closes them when the loop ends.

The number of accounts is capped: beyond it, the client that was used least recently is closed. A client that a call
still uses is never closed, since that call could lose an image that is paid for. It is retired instead, and the last
call that uses it closes it.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from apimaster import APIMaster, AsyncAPIMaster
from apimaster.settings import resolve

_log = logging.getLogger("litellm_apimaster")

LIMIT: Final = 64
"""Accounts with an open client, for each of the two kinds of client."""

ClientT = TypeVar("ClientT")


@dataclass(frozen=True, slots=True)
class Account:
    """A key at a base URL."""

    api_key: str = field(repr=False)
    base_url: str


def resolve_account(api_key: str | None, base_url: str | None) -> Account:
    """The account that LiteLLM names, completed by the core's own settings (environment, config file).

    Raises:
        AuthenticationError: there is no key.
        BadRequestError: the base URL is not one.
    """
    settings = resolve(api_key or None, base_url or None)
    return Account(settings.api_key.get_secret_value(), settings.base_url)


class ClientCache:
    """All clients of one provider. Safe to share between threads and event loops."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._forget_all()
        atexit.register(self.close)
        if hasattr(os, "register_at_fork"):  # Windows has no fork
            # A forked child must not share connections, or locks, with its parent.
            os.register_at_fork(after_in_child=self._forget_all)

    def __deepcopy__(self, memo: object) -> ClientCache:
        return self  # LiteLLM copies its configuration; connections can't be copied

    @contextmanager
    def blocking_client(self, account: Account) -> Iterator[APIMaster]:
        """The blocking client of an account, for as long as the block lasts."""
        entry = self._blocking.borrow(account)
        try:
            yield entry.client
        finally:
            for client in self._blocking.give_back(entry):
                with _errors_only_logged():
                    client.close()

    @asynccontextmanager
    async def asyncio_client(self, account: Account) -> AsyncIterator[AsyncAPIMaster]:
        """The asyncio client of an account, for as long as the block lasts."""
        entry = self._asyncio.borrow(account)
        try:
            yield entry.client
        finally:
            for client in self._asyncio.give_back(entry):
                with _errors_only_logged():
                    await client.aclose()

    def count(self) -> int:
        """How many clients of both kinds are kept."""
        return len(self._blocking) + len(self._asyncio)

    def close(self) -> None:
        """Close the blocking clients: at once, or when the last call that uses one has ended."""
        for client in self._blocking.retire_all():
            client.close()

    async def aclose(self) -> None:
        """Close the asyncio clients on all event loops: at once, or when the last call that uses one has ended."""
        for client in self._asyncio.retire_all():
            await client.aclose()

    def _forget_all(self) -> None:
        self._blocking = _LeastRecentlyUsed(_make_blocking, self._limit)
        self._asyncio = _LeastRecentlyUsed(_make_asyncio, self._limit)


@dataclass(slots=True, eq=False)
class _Entry(Generic[ClientT]):
    client: ClientT
    users: int = 0
    retired: bool = False


class _LeastRecentlyUsed(Generic[ClientT]):
    """Clients by account, the least recently used first. Closing is left to the caller, outside the lock."""

    def __init__(self, make: Callable[[Account], ClientT], limit: int) -> None:
        self._make = make
        self._limit = limit
        self._entries: OrderedDict[Account, _Entry[ClientT]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def borrow(self, account: Account) -> _Entry[ClientT]:
        """The account's client, to be given back."""
        with self._lock:
            entry = self._entries.get(account)
            if entry is None:
                entry = self._entries[account] = _Entry(self._make(account))
            self._entries.move_to_end(account)
            entry.users += 1
            return entry

    def give_back(self, entry: _Entry[ClientT]) -> list[ClientT]:
        """End one use; returns the clients that are now to be closed."""
        with self._lock:
            entry.users -= 1
            if entry.retired:
                return [] if entry.users else [entry.client]
            surplus = len(self._entries) - self._limit
            if surplus <= 0:
                return []
            unused = [account for account, each in self._entries.items() if not each.users]
            return [self._entries.pop(account).client for account in unused[:surplus]]

    def retire_all(self) -> list[ClientT]:
        """Keep no client any longer; returns those that no call uses, to be closed."""
        with self._lock:
            retired = list(self._entries.values())
            self._entries.clear()
            for entry in retired:
                entry.retired = True
            return [entry.client for entry in retired if not entry.users]


def _make_blocking(account: Account) -> APIMaster:
    return APIMaster(account.api_key, base_url=account.base_url)


def _make_asyncio(account: Account) -> AsyncAPIMaster:
    return AsyncAPIMaster(account.api_key, base_url=account.base_url)


@contextmanager
def _errors_only_logged() -> Iterator[None]:
    """A call that closes a client which it no longer uses already has its image, and must not lose it to a fault."""
    try:
        yield
    except Exception:  # noqa: BLE001  # whatever it is, it is logged
        _log.exception("an unused client could not be closed")
