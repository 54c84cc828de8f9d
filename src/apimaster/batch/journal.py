"""The ledger on its own thread: async code never waits for a disk with its loop.

Steps that come in while a commit is on its way go into the next one together. So a thousand images under way cost
a few commits per second more than one, and each step is still on disk before its caller goes on.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from .ledger import Ledger
from .steps import LedgerError, Step

T = TypeVar("T")
_Job = tuple["Callable[[Ledger], object] | Step", "asyncio.Future[object]"]


class Journal:
    """Writes steps and runs questions on the thread that owns the ledger, in the order in which they come.

    Args:
        directory: the batch's folder.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._wake = threading.Condition()
        self._waiting: list[_Job] = []
        self._closing = False
        self._broken: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self.commits = 0

    async def open(self) -> None:
        """Open the ledger, or start one.

        Raises:
            BadRequestError, LedgerError: see ``Ledger``.
        """
        self._loop = asyncio.get_running_loop()
        opened: asyncio.Future[object] = self._loop.create_future()
        self._thread = threading.Thread(target=self._work, args=(opened,), name="apimaster-ledger", daemon=True)
        self._thread.start()
        await opened

    async def write(self, step: Step) -> None:
        """Come back when ``step`` is on disk.

        Raises:
            LedgerError: it could not be written; from then on nothing can.
        """
        await self._hand_in(step)

    async def ask(self, question: Callable[[Ledger], T]) -> T:
        """What ``question`` answers, after all steps that came before it are on disk."""
        return await self._hand_in(question)  # type: ignore[return-value]  # the question's own answer comes back

    async def close(self) -> None:
        """Write what is waiting and close the ledger."""
        thread, self._thread = self._thread, None
        if thread is not None:
            with self._wake:
                self._closing = True
                self._wake.notify()
            await asyncio.to_thread(thread.join)

    def _hand_in(self, work: Callable[[Ledger], object] | Step) -> asyncio.Future[object]:
        assert self._loop is not None
        if self._broken is not None and isinstance(work, Step):
            raise LedgerError(f"The ledger is out of order: {self._broken}") from self._broken
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
            ledger = Ledger.open(self._directory)
        except BaseException as error:  # noqa: BLE001 -- it belongs to whoever opened it
            self._answer([(opened, None, error)])
            return
        self._answer([(opened, None, None)])
        try:
            while True:
                with self._wake:
                    while not self._waiting and not self._closing:
                        self._wake.wait()
                    jobs, self._waiting = self._waiting, []
                if not jobs:
                    return
                self._do(ledger, jobs)
        finally:
            ledger.close()

    def _do(self, ledger: Ledger, jobs: list[_Job]) -> None:
        """Steps that follow each other in one commit, questions between them in their turn."""
        steps: list[Step] = []
        waiting: list[asyncio.Future[object]] = []
        for work, future in jobs:
            if isinstance(work, Step):
                steps.append(work)
                waiting.append(future)
                continue
            self._commit(ledger, steps, waiting)
            steps, waiting = [], []
            try:
                answer = work(ledger)
            except BaseException as error:  # noqa: BLE001 -- it belongs to whoever asked
                self._answer([(future, None, error)])
            else:
                self._answer([(future, answer, None)])
        self._commit(ledger, steps, waiting)

    def _commit(self, ledger: Ledger, steps: list[Step], waiting: list[asyncio.Future[object]]) -> None:
        if not steps:
            return
        error: BaseException | None = self._broken
        if error is None:
            try:
                ledger.apply(steps)
                self.commits += 1
            except BaseException as cause:  # noqa: BLE001 -- it belongs to those whose steps these are
                error = self._broken = cause
        self._answer([(future, None, error) for future in waiting])

    def _answer(self, answers: list[tuple[asyncio.Future[object], object, BaseException | None]]) -> None:
        assert self._loop is not None
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(_settle, answers)


def _settle(answers: list[tuple[asyncio.Future[object], object, BaseException | None]]) -> None:
    for future, answer, error in answers:
        if future.done():  # its caller was cancelled; what is written stays written
            continue
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(answer)
