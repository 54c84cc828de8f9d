"""The ledger on a thread of its own, so that the event loop never waits for a disk.

Transitions that arrive during a commit go into the next one together. So a thousand images under way cost only a few
more commits per second than one, and each transition is still on disk before its caller goes on.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ..errors import LedgerError
from .ledger import BatchLedger
from .ledger_records import Transition

T = TypeVar("T")
_Query = Callable[[BatchLedger], object]
_Queued = tuple["_Query | Transition", "asyncio.Future[object]"]
_Answer = tuple["asyncio.Future[object]", object, "BaseException | None"]


class LedgerWriter:
    """Writes transitions and runs queries on the thread that owns the ledger, in the order in which they come.

    Args:
        directory: the batch's folder.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._wake = threading.Condition()
        self._waiting: list[_Queued] = []
        self._closing = False
        self._broken: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self.commits = 0

    async def open(self) -> None:
        """Open the ledger, or start one.

        Raises:
            BadRequestError, LedgerError: see ``BatchLedger.open``.
        """
        self._loop = asyncio.get_running_loop()
        opened: asyncio.Future[object] = self._loop.create_future()
        self._thread = threading.Thread(target=self._work, args=(opened,), name="apimaster-ledger", daemon=True)
        self._thread.start()
        await opened

    async def write(self, transition: Transition) -> None:
        """Return when ``transition`` is on disk.

        Raises:
            LedgerError: it could not be written; from then on nothing can.
        """
        await self._enqueue(transition)

    async def query(self, query: Callable[[BatchLedger], T]) -> T:
        """What ``query`` returns, once all transitions that came before it are on disk."""
        return await self._enqueue(query)  # type: ignore[return-value]  # the query's own answer comes back

    async def close(self) -> None:
        """Write what is waiting and close the ledger."""
        thread, self._thread = self._thread, None
        if thread is not None:
            with self._wake:
                self._closing = True
                self._wake.notify()
            await asyncio.to_thread(thread.join)

    def _enqueue(self, work: _Query | Transition) -> asyncio.Future[object]:
        assert self._loop is not None
        if self._broken is not None and isinstance(work, Transition):
            reason = self._broken.message if isinstance(self._broken, LedgerError) else self._broken
            raise LedgerError(f"The ledger takes no more transitions after one that failed: {reason}") from self._broken
        if self._closing:
            raise LedgerError("The ledger is closed.")
        future: asyncio.Future[object] = self._loop.create_future()
        with self._wake:
            self._waiting.append((work, future))
            self._wake.notify()
        return future

    # --- on the ledger's thread -----------------------------------------------------------------------

    def _work(self, opened: asyncio.Future[object]) -> None:
        try:
            ledger = BatchLedger.open(self._directory)
        except BaseException as error:  # noqa: BLE001 -- ``open`` raises it
            self._answer([(opened, None, error)])
            return
        self._answer([(opened, None, None)])
        try:
            while True:
                with self._wake:
                    while not self._waiting and not self._closing:
                        self._wake.wait()
                    queued, self._waiting = self._waiting, []
                if not queued:
                    return
                self._process(ledger, queued)
        finally:
            ledger.close()

    def _process(self, ledger: BatchLedger, queued: list[_Queued]) -> None:
        """Commit consecutive transitions together, and run queries in their turn."""
        transitions: list[Transition] = []
        waiting: list[asyncio.Future[object]] = []
        for work, future in queued:
            if isinstance(work, Transition):
                transitions.append(work)
                waiting.append(future)
                continue
            self._commit(ledger, transitions, waiting)
            transitions, waiting = [], []
            try:
                answer = work(ledger)
            except BaseException as error:  # noqa: BLE001 -- ``query`` raises it
                self._answer([(future, None, error)])
            else:
                self._answer([(future, answer, None)])
        self._commit(ledger, transitions, waiting)

    def _commit(
        self, ledger: BatchLedger, transitions: list[Transition], waiting: list[asyncio.Future[object]]
    ) -> None:
        if not transitions:
            return
        error: BaseException | None = self._broken
        if error is None:
            try:
                ledger.apply(transitions)
                self.commits += 1
            except BaseException as cause:  # noqa: BLE001 -- ``write`` raises it
                error = self._broken = cause
        self._answer([(future, None, error) for future in waiting])

    def _answer(self, answers: list[_Answer]) -> None:
        assert self._loop is not None
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(_resolve, answers)


def _resolve(answers: list[_Answer]) -> None:
    for future, answer, error in answers:
        if future.done():  # the caller was cancelled; what is written stays written
            continue
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(answer)
