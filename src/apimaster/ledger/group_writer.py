"""The thread that writes a process's steps, in groups.

Steps that arrive during a commit go into the next one together: so a thousand images under way cost a few commits a
second. While several purchases are under way, a group also waits two milliseconds for more steps. The thread says every
few seconds that this process is alive, too, and frees what dead processes left behind.
"""

from __future__ import annotations

import copy
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, Final, TypeVar

from ..errors import APIMasterError, LedgerError, sentence
from .backend import Backend, Unavailable, Worker
from .lease import Lease
from .steps import Reap, Step
from .turns import Pending, Turns, opens_purchase

T = TypeVar("T")
_Work = Step | Callable[[Backend], Any]
_Queued = tuple[_Work, "Future[Any]"]
_log = logging.getLogger("apimaster")

MAX_GROUP: Final = 200
_LONGEST_PAUSE: Final = 2.0  # seconds between two attempts to reach a store
_BUSY: Final = 5  # open submits from which on a group waits for more
_LARGE_GROUP: Final = 32
_COMMIT_DELAY: Final = 0.002  # seconds


class GroupWriter:
    """Takes steps from any thread and gives a future for each.

    Args:
        open_backend: opens the store; called on the writer's thread, so that nobody waits for it who need not.
        heartbeat: seconds between two signs of life.
        lease: seconds without a sign of life after which a process is taken for dead.
        max_open_submits: submits that are open at once.
        patience: seconds that a step waits for a store that can't be reached.

    Attributes:
        opened: has its answer when the store is open, or the reason why it can't be opened.
        failed: whether it could not be opened; every step ends with the reason.
    """

    def __init__(
        self,
        open_backend: Callable[[], Backend],
        *,
        heartbeat: float,
        lease: float,
        max_open_submits: int,
        patience: float,
    ) -> None:
        self.worker = Worker()
        self._heartbeat = heartbeat
        self._lease = Lease(heartbeat, lease)
        self._patience = patience
        self._wake = threading.Condition()
        self._queue: deque[_Queued] = deque()
        self._owed: list[Step] = []
        self._turns = Turns(max_open_submits)
        self._last_beat = float("-inf")
        self._closing = False
        self.commits = 0
        self.backend: Backend | None = None
        self.opened: Future[None] = Future()
        self.failed = False
        self._thread = threading.Thread(target=self._work, args=(open_backend,), name="apimaster-ledger", daemon=True)
        self._thread.start()

    def take(self, step: Step) -> Future[Any]:
        """Queue a step. The future has its answer when it is on the disk, or the error that refused it."""
        return self._enqueue(step)

    def call(self, function: Callable[[Backend], T]) -> Future[T]:
        """Run a function on the store, after the steps that came before it."""
        return self._enqueue(function)

    def reap(self) -> Future[None]:
        """Free what dead processes left behind, after the steps that came before."""
        return self.call(self._reap)

    def close(self, timeout: float | None = None) -> None:
        """Write what is queued, and stop."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout)

    def _enqueue(self, work: Step | Callable[[Backend], Any]) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()  # what is queued is done, even if the caller does not wait any more
        with self._wake:
            if self._closing:
                error = self.opened.exception() if self.failed else None
                future.set_exception(closed() if error is None else copy.copy(error))
                return future
            self._queue.append((work, future))
            self._wake.notify()
        return future

    # --- on the writer's thread -----------------------------------------------------------------------

    def _work(self, open_backend: Callable[[], Backend]) -> None:
        try:
            backend = open_backend()
        except BaseException as error:  # noqa: BLE001 -- whoever waits for a step raises it
            self.failed = True
            self.opened.set_exception(error)
            with self._wake:
                self._closing = True
                queued, self._queue = self._queue, deque()
            for _, future in queued:
                _answer(future, copy.copy(error))
            return
        self.backend = backend
        self.opened.set_result(None)
        try:
            while True:
                with self._wake:
                    while not (self._queue or self._turns.ready or self._closing) and self._until_beat() > 0:
                        self._wake.wait(min(self._until_beat(), max(self._turns.until_expiry, 0.0)))
                self._let_others_join()
                with self._wake:
                    steps, functions = self._next()
                    if self._closing and not (steps or functions):
                        break
                if steps:
                    self._write(backend, steps)
                for function, future in functions:
                    _answer(future, self._patiently(partial(function, backend)))
                if self._until_beat() <= 0:
                    self._beat(backend)
        finally:
            with self._wake:
                self._closing = True
                queued, self._queue = self._queue, deque()
            self._turns.refuse(closed())
            for _, future in queued:  # only if this thread has met a fault of its own
                _answer(future, closed())
            self._leave(backend)

    def _let_others_join(self) -> None:
        """A commit costs as much as all else together: if much is under way, wait a moment for more steps."""
        if self._turns.open >= _BUSY and len(self._queue) < _LARGE_GROUP and not self._closing:
            time.sleep(_COMMIT_DELAY)

    def _next(self) -> tuple[list[Pending], list[tuple[Callable[[Backend], Any], Future[Any]]]]:
        """The next group: the steps up to the first function, and the functions that follow."""
        functions: list[tuple[Callable[[Backend], Any], Future[Any]]] = []
        if self._closing:
            self._refuse_purchases()
        steps = self._turns.start_group()
        while self._queue and len(steps) < MAX_GROUP:
            work, future = self._queue[0]
            if callable(work):
                functions.append((work, future))
            elif functions:
                break
            elif (step := self._turns.admit(work, future)) is not None:
                steps.append((step, future))
            self._queue.popleft()
        return steps, functions

    def _refuse_purchases(self) -> None:
        """The ledger closes: nobody could record any more what a purchase that begins now leads to."""
        self._turns.refuse(closed())
        for work, future in [each for each in self._queue if opens_purchase(each[0])]:
            self._queue.remove((work, future))
            _answer(future, closed())

    def _write(self, backend: Backend, group: list[Pending]) -> None:
        owed, self._owed = self._owed, []
        steps = [*owed, *(step for step, _ in group)]
        beat = self._until_beat() <= self._heartbeat / 2
        answers = self._patiently(lambda: backend.apply(steps, self.worker, lease=self._lease.seconds, beat=beat))
        if isinstance(answers, BaseException) and not isinstance(answers, LedgerError):
            # One of them can't be written, which must not stop the others.
            answers = [self._write_alone(backend, step) for step in steps]
        if isinstance(answers, LedgerError):
            self._owed = [step for step in steps if step.owed][-10_000:]
            for step, future in group:
                self._turns.note(step, answers)
                _answer(future, copy.copy(answers))  # each caller adds its own traceback
            return
        self.commits += 1
        self._lease.reached()
        if beat:
            self._last_beat = time.monotonic()
        for (step, future), answer in zip(group, answers[len(owed) :], strict=True):
            if not self._turns.waits(step, future, answer):
                self._turns.note(step, answer)
                _answer(future, answer)

    def _write_alone(self, backend: Backend, step: Step) -> object:
        answer = self._patiently(lambda: backend.apply([step], self.worker, lease=self._lease.seconds, beat=False)[0])
        if isinstance(answer, Unavailable) and step.owed:
            self._owed.append(step)
        if isinstance(answer, BaseException) and not isinstance(answer, APIMasterError):
            _log.error("purchase %r [%d]: the ledger can't hold a step of it: %s", step.key, step.index, answer)
            return LedgerError(f"The ledger can't hold this step: {sentence(str(answer))}")
        return answer

    def _patiently(self, work: Callable[[], T]) -> T | BaseException:
        """What ``work`` returns or raises; while the store can't be reached, it is tried again."""
        deadline = time.monotonic() + self._patience
        pause = 0.05
        while True:
            try:
                return work()
            except Unavailable as error:
                if time.monotonic() + pause > deadline:
                    return error
                _log.warning("%s Trying again in %.2f s.", error.message, pause)
            except BaseException as error:  # noqa: BLE001 -- the caller's future raises it
                return error
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _until_beat(self) -> float:
        return self._last_beat + self._heartbeat - time.monotonic()

    def _beat(self, backend: Backend) -> None:
        self._last_beat = time.monotonic()
        try:
            backend.beat(self.worker)
            self._reap(backend)
            self._lease.reached()
        except Exception as error:  # noqa: BLE001 -- whatever it is, the thread must go on
            _log.warning("The ledger was not told that this process is alive: %s", error)

    def _reap(self, backend: Backend) -> None:
        dead = [Reap(key=key, index=index) for key, index in backend.orphans(self._lease.seconds)]
        group: list[Pending] = [(step, Future()) for step in dead]
        if group or self._owed:
            self._write(backend, group)
        for _, freed in group:
            freed.result()

    def _leave(self, backend: Backend) -> None:
        try:
            if self._owed:
                backend.apply(self._owed, self.worker, lease=self._lease.seconds, beat=False)
            backend.leave(self.worker)
        except Exception as error:  # noqa: BLE001 -- there is nobody left to raise it to
            _log.warning("%s", error)
        finally:
            backend.close()


def closed() -> LedgerError:
    """The error for whoever uses a ledger that is closed."""
    return LedgerError("The ledger is closed.", advice="Open it again.")


def _answer(future: Future[Any], answer: object) -> None:
    if isinstance(answer, BaseException):
        future.set_exception(answer)
    else:
        future.set_result(answer)
