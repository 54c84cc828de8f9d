"""How a batch reaches its purchases: through a ledger that others use too, or on a connection of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import LedgerError
from ..ledger.backend import LEASE, Backend, Worker
from ..ledger.steps import Step

if TYPE_CHECKING:
    from ..ledger import Ledger

T = TypeVar("T")


class SharedStore:
    """A ledger that other processes use too. ``own``: it was opened for this batch, which closes it."""

    def __init__(self, ledger: Ledger, *, own: bool) -> None:
        self.ledger = ledger
        self.store_prompts = ledger.store_prompts
        self._own = own

    def run(self, function: Callable[[Backend], T]) -> T:
        """What the function returns."""
        return self.ledger.call(function).result()

    def take(self, steps: Sequence[Step]) -> list[Any]:
        """The answers to steps, which go out in groups."""
        return [future.result() for future in [self.ledger.take(step) for step in steps]]

    def close(self) -> None:
        """Wait until everything is written; close the ledger if it is the batch's own."""
        if self._own:
            self.ledger.close()
            return
        with contextlib.suppress(LedgerError):  # each step has said so itself
            self.ledger.call(lambda backend: None).result()


class PlainStore:
    """A ledger on a connection of its own: a file that is only read, or a copy in memory."""

    store_prompts = True

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._worker = Worker()

    def run(self, function: Callable[[Backend], T]) -> T:
        """What the function returns."""
        return function(self._backend)

    def take(self, steps: Sequence[Step]) -> list[Any]:
        """The answers to steps."""
        if not steps:
            return []
        return self._backend.apply(steps, self._worker, lease=LEASE, beat=False)

    def close(self) -> None:
        """The lines close the connection."""
