"""The thread that writes a process's steps, in groups.

Steps that arrive during a commit go into the next one together: so a thousand images under way cost a few commits a
second. The thread also says every few seconds that this process is alive, and frees what dead processes left behind.

Few submits are open at once: a request whose reply is awaited when the process dies is one of which nobody knows
whether it was charged. A ``Begin`` that would buy, or a ``Submitting``, beyond ``max_open_submits`` waits its turn.
"""

from __future__ import annotations

import copy
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from typing import Any, Final, TypeVar

from ..errors import LedgerError
from .backend import Backend, Unavailable, Worker
from .rows import Row
from .steps import Begin, Beginning, Reap, Release, Step, Submitting

T = TypeVar("T")
_Work = Step | Callable[[Backend], Any]
_Queued = tuple[_Work, "Future[Any]"]
_log = logging.getLogger("apimaster")

MAX_GROUP: Final = 200
_LONGEST_PAUSE: Final = 2.0  # seconds between two attempts to reach a store


class GroupWriter:
    """Takes steps from any thread and gives a future for each.

    Args:
        open_backend: opens the store; called on the writer's thread, so that nobody waits for it who need not.
        heartbeat: seconds between two signs of life.
        lease: seconds without a sign of life after which a process is taken for dead.
        max_open_submits: submits that are open at once.
        patience: seconds that a step waits for a store that can't be reached.
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
        self._lease = lease
        self._max_open = max_open_submits
        self._patience = patience
        self._wake = threading.Condition()
        self._queue: deque[_Queued] = deque()
        self._held: deque[_Queued] = deque()
        self._owed: list[Step] = []
        self._open: set[str] = set()
        self._last_beat = float("-inf")
        self._closing = False
        self.commits = 0
        self.backend: Backend | None = None
        self.opened: Future[None] = Future()
        self._thread = threading.Thread(target=self._work, args=(open_backend,), name="apimaster-ledger", daemon=True)
        self._thread.start()

    @property
    def failed(self) -> bool:
        """Whether the store could not be opened; ``opened`` has the reason, and every step ends with it."""
        return self.opened.done() and self.opened.exception() is not None

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
                    while not self._ready() and not self._closing and self._until_beat() > 0:
                        self._wake.wait(self._until_beat())
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
            self._leave(backend)

    def _ready(self) -> bool:
        """Whether something can go on now."""
        return bool(self._queue) or bool(self._held and len(self._open) < self._max_open)

    def _next(self) -> tuple[list[tuple[Step, Future[Any]]], list[tuple[Callable[[Backend], Any], Future[Any]]]]:
        """The next group: the steps up to the first function, and the functions that follow.

        Steps that would open too many submits are held back until others have had their reply.
        """
        steps: list[tuple[Step, Future[Any]]] = []
        functions: list[tuple[Callable[[Backend], Any], Future[Any]]] = []
        if self._closing:
            self._refuse_waiting()
        free = self._max_open - len(self._open)
        while self._held and free > 0:
            work, future = self._held.popleft()
            steps.append((work, future))  # type: ignore[arg-type]  # only steps are held
            free -= 1
        while self._queue and len(steps) < MAX_GROUP:
            work, future = self._queue[0]
            if callable(work):
                functions.append((work, future))
            elif functions:
                break
            elif isinstance(work, Begin) and _opens_submit(work) and free <= 0:
                steps.append((replace(work, peek=True), future))  # what is bought already need not wait
            elif _opens_submit(work) and free <= 0:
                self._held.append((work, future))
            else:
                if isinstance(work, Release):
                    self._drop_held(work.claim)
                free -= _opens_submit(work)
                steps.append((work, future))
            self._queue.popleft()
        return steps, functions

    def _refuse_waiting(self) -> None:
        """The ledger closes: nobody could record any more what a purchase that begins now leads to."""
        for queue in (self._held, self._queue):
            for work, future in [each for each in queue if isinstance(each[0], (Begin, Submitting))]:
                queue.remove((work, future))
                _answer(future, closed())

    def _drop_held(self, claim: str) -> None:
        """Forget the waiting step of a call that was stopped: it would begin what nobody ends."""
        for step, future in [each for each in self._held if getattr(each[0], "claim", None) == claim]:
            self._held.remove((step, future))
            _answer(future, LedgerError("The call was stopped before its turn came.", advice="Ask again."))

    def _write(self, backend: Backend, group: list[tuple[Step, Future[Any]]]) -> None:
        owed, self._owed = self._owed, []
        steps = [*owed, *(step for step, _ in group)]
        beat = self._until_beat() <= self._heartbeat / 2
        answers = self._patiently(lambda: backend.apply(steps, self.worker, lease=self._lease, beat=beat))
        if isinstance(answers, BaseException):
            self._owed = [step for step in steps if step.owed][-10_000:]
            for step, future in group:
                self._note(step, answers)
                _answer(future, copy.copy(answers))  # each caller adds its own traceback
            return
        self.commits += 1
        if beat:
            self._last_beat = time.monotonic()
        for (step, future), answer in zip(group, answers[len(owed) :], strict=True):
            if isinstance(step, Begin) and isinstance(answer, Beginning) and answer.kind == "wait":
                self._held.append((replace(step, peek=False), future))
                continue
            self._note(step, answer)
            _answer(future, answer)

    def _note(self, step: Step, answer: object) -> None:
        """Keep count of the submits that are open."""
        row = answer.row if isinstance(answer, Beginning) and answer.kind == "buy" else answer
        if isinstance(step, (Begin, Submitting)) and isinstance(row, Row) and _is_open(row):
            self._open.add(step.claim)
        elif not isinstance(step, Begin):
            self._open.discard(step.claim)  # whatever the step says, the request has had its reply, or is given up

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
        except LedgerError as error:
            _log.warning("The ledger was not told that this process is alive: %s", error.message)

    def _reap(self, backend: Backend) -> None:
        dead: list[Step] = [Reap(key=key, index=index) for key, index in backend.orphans(self._lease)]
        owed, self._owed = self._owed, []
        try:
            if dead or owed:
                backend.apply([*owed, *dead], self.worker, lease=self._lease, beat=False)
        except LedgerError:
            self._owed = owed
            raise

    def _leave(self, backend: Backend) -> None:
        try:
            if self._owed:
                backend.apply(self._owed, self.worker, lease=self._lease, beat=False)
            backend.leave(self.worker)
        except LedgerError as error:
            _log.warning("%s", error.message)
        finally:
            backend.close()


def closed() -> LedgerError:
    """The error for whoever uses a ledger that is closed."""
    return LedgerError("The ledger is closed.", advice="Open it again.")


def _opens_submit(work: object) -> bool:
    if isinstance(work, Begin):
        return work.submit and not work.one_shot
    return isinstance(work, Submitting) and not work.one_shot


def _is_open(row: Row) -> bool:
    return row.state == "submitting" and not row.one_shot


def _answer(future: Future[Any], answer: object) -> None:
    if isinstance(answer, BaseException):
        future.set_exception(answer)
    else:
        future.set_result(answer)
