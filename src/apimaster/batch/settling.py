"""What a run asks before it begins: what became of images that nobody knows the outcome of.

The gateway's usage log tells (docs/ledger.md, "Settling"). A run reads it once, at its start: what it finds is paid for
and collected like any other image, what it proves not to be charged has failed. A run that can't read it goes on.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from ..ledger import Settlement

if TYPE_CHECKING:
    from .. import AsyncAPIMaster
    from ..ledger import Ledger
    from .ledger import BatchLedger

COLLECT_SECONDS: Final = 15.0
"""Seconds that settling waits for tasks which are still running. The run goes on with these later."""


class StartSettling:
    """Settles the unknown images of a batch, once.

    Args:
        client: asks the gateway.
    """

    def __init__(self, client: AsyncAPIMaster) -> None:
        self._client = client
        self._task: asyncio.Task[Settlement] | None = None

    def stop(self) -> None:
        """Stop asking: ``settle`` returns what is known, which is nothing."""
        if self._task is not None:
            self._task.cancel()

    async def settle(self, batch: BatchLedger, ledger: Ledger) -> Settlement:
        """Read the usage log, if there is an image to look up in it.

        Raises:
            LedgerError: the ledger can't be used.
        """
        keys = await asyncio.to_thread(due_keys, batch, ledger.settle_after)
        if not keys:
            return Settlement()
        client = self._client.with_options(ledger=ledger)
        self._task = asyncio.create_task(client.settle(*keys, timeout=COLLECT_SECONDS))
        try:
            await asyncio.wait({self._task})
        finally:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        return Settlement() if self._task.cancelled() else self._task.result()


def due_keys(batch: BatchLedger, settle_after: float) -> list[str]:
    """The unknown images whose charge may be in the log by now, and that nobody has just looked up. Blocks.

    If there is a charge, it counts at once; whether the lack of one proves anything yet is for settling to say.
    """
    before = batch.now() - settle_after
    keys = []
    for page in batch.rows(states=("unknown",)):
        for row in page:
            begun = row.created_at if row.begun_at is None else row.begun_at
            if begun <= before and (row.settled_at is None or row.settled_at <= before):
                keys.append(row.key)
    return keys
