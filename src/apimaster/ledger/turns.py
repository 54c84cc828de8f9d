"""Who may submit now: few submits of a process are open at once, and the others wait for their turn.

A request whose reply is awaited when the process dies is one of which nobody knows whether it was charged. So a step
that would open one more than ``max_open`` waits, in the order in which they came. Nothing is reserved or sent for a
purchase that waits. Its row is ``claimed`` if it has an alias, so that others find it.
"""

from __future__ import annotations

import copy
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

from ..errors import APIConnectionError, APIMasterError, LedgerError
from .rows import Row
from .steps import Begin, Beginning, Release, Step, Submitting

Pending = tuple[Step, "Future[Any]"]


@dataclass(slots=True)
class _Waiting:
    step: Step
    future: Future[Any]
    expires: float


class Turns:
    """The submits of one process that are open, and the steps that wait until fewer are. For one thread.

    Args:
        max_open: submits that are open at once.
    """

    def __init__(self, max_open: int) -> None:
        self._max_open = max_open
        self._free = max_open
        self._open: set[str] = set()
        self._waiting: deque[_Waiting] = deque()

    @property
    def open(self) -> int:
        """Submits that are open."""
        return len(self._open)

    @property
    def ready(self) -> bool:
        """Whether the turn of a step has come, or its time has run out."""
        return bool(self._waiting) and (len(self._open) < self._max_open or self.until_expiry <= 0)

    @property
    def until_expiry(self) -> float:
        """Seconds until the time of the first one runs out."""
        return min((each.expires for each in self._waiting), default=float("inf")) - time.monotonic()

    def start_group(self) -> list[Pending]:
        """The steps whose turn has come, for the next group. Those whose time has run out are told so."""
        now = time.monotonic()
        for each in [each for each in self._waiting if each.expires <= now]:
            self._answer(each, _too_late(self._max_open))
        self._free = self._max_open - len(self._open)
        return [self._next() for _ in range(min(self._free, len(self._waiting)))]

    def admit(self, step: Step, future: Future[Any]) -> Step | None:
        """The step as it may be written now; None: it waits.

        A ``Begin`` whose turn has not come looks whether there is something to buy: what is bought already need not
        wait.
        """
        if isinstance(step, Release):
            self._drop(step.claim)
        if not _opens_submit(step) or step.claim in self._open:
            return step
        if self._free > 0:
            self._free -= 1
            return step
        if isinstance(step, Begin):
            return replace(step, peek=True)
        self._waiting.append(_Waiting(step, future, float("inf")))
        return None

    def waits(self, step: Step, future: Future[Any], answer: object) -> bool:
        """Whether the answer to a step is that it has to wait: then it gets its turn later."""
        if not isinstance(step, Begin) or not isinstance(answer, Beginning) or answer.kind != "wait":
            return False
        self._waiting.append(_Waiting(replace(step, peek=False), future, time.monotonic() + step.wait))
        return True

    def note(self, step: Step, answer: object) -> None:
        """Keep count of the submits that are open."""
        row = answer.row if isinstance(answer, Beginning) and answer.kind == "buy" else answer
        if isinstance(step, (Begin, Submitting)) and isinstance(row, Row) and _is_open(row):
            self._open.add(step.claim)
        elif not isinstance(step, Begin):
            if isinstance(step, Release):
                self._drop(step.claim)  # its first step may have come in the same group, to wait
            self._open.discard(step.claim)  # whatever the step says, the request has had its reply, or is given up

    def refuse(self, error: APIMasterError) -> None:
        """Tell all that wait that their turn will not come."""
        for each in list(self._waiting):
            self._answer(each, copy.copy(error))  # each caller adds its own traceback

    def _next(self) -> Pending:
        each = self._waiting.popleft()
        self._free -= 1
        return each.step, each.future

    def _drop(self, claim: str) -> None:
        """Forget the waiting step of a call that was stopped: it would begin what nobody ends."""
        for each in [each for each in self._waiting if each.step.claim == claim]:
            self._answer(each, LedgerError("The call was stopped before its turn came.", advice="Ask again."))

    def _answer(self, each: _Waiting, error: APIMasterError) -> None:
        self._waiting.remove(each)
        each.future.set_exception(error)


def opens_purchase(step: object) -> bool:
    """Whether the step begins a request, so that somebody has to record what becomes of it."""
    return isinstance(step, (Begin, Submitting))


def _opens_submit(step: Step) -> bool:
    if isinstance(step, Begin):
        return step.submit and not step.one_shot
    return isinstance(step, Submitting) and not step.one_shot


def _is_open(row: Row) -> bool:
    return row.state == "submitting" and not row.one_shot


def _too_late(max_open: int) -> APIConnectionError:
    return APIConnectionError(
        f"The time ran out before anything was sent: {max_open} submits of this process were under way already.",
        advice="Try again with a longer timeout, or with fewer images at once.",
    )
