"""A driver that is moved by hand: scripted replies and a clock of its own, so a ten-minute wait takes a millisecond.

It performs the same operations as the two real drivers, flows that go together included: every flow is a strand,
and the strand whose next moment comes first goes on. Time passes only in ``Sleep`` and in exchanges. What happens
meanwhile, such as the delivery of a webhook, is put at a time with ``at``.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from apimaster._flows.context import Context
from apimaster._flows.operations import (
    Await,
    Fetch,
    Flow,
    Gather,
    Instant,
    Notify,
    Now,
    Operation,
    Reply,
    RunBlocking,
    Send,
    Sleep,
)
from apimaster._flows.retry import RetryPolicy
from apimaster._polling.history import History
from apimaster._polling.rate_limit import RateLimiter
from apimaster.errors import APIMasterError

BASE_URL = "https://gateway.test/v1"
WALL = 1_760_000_000.0

_CAN_BE_WOKEN = object()

Answer = Reply | Exception
Answerer = Callable[[Send, float], Answer]


def reply(document: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    """A JSON reply; bytes and text are sent as they are."""
    if isinstance(document, str):
        document = document.encode()
    return Reply(
        status, dict(headers or {}), document if isinstance(document, bytes) else json.dumps(document).encode()
    )


def accepted(task_id: str = "task_1") -> Reply:
    return reply({"code": 200, "data": [{"status": "submitted", "task_id": task_id}]})


def running(**fields: object) -> Reply:
    return reply({"data": {"status": "in_progress", **fields}})


def finished(url: str = "https://cdn.test/a.png") -> Reply:
    return reply({"data": {"status": "succeeded", "result": {"images": [{"url": url}]}}})


def failed(error: object = None) -> Reply:
    return reply({"data": {"status": "failed"} if error is None else {"status": "failed", "error": error}})


def refusal(status: int, message: str = "no", code: object = None, **headers: str) -> Reply:
    return reply(
        {"error": {"message": message, "type": "new_api_error", "code": code}},
        status,
        {name.replace("_", "-"): value for name, value in headers.items()},
    )


def page(status: int) -> Reply:
    return reply("<html><body>gateway time-out</body></html>", status, {"content-type": "text/html"})


def context(**changes: Any) -> Context:
    """A context of a new client; backoff is half a second and doubles, without dice."""
    settings: dict[str, Any] = {
        "base_url": BASE_URL,
        "policy": RetryPolicy(dice=lambda: 1.0),
        "history": History(),
        "rate_limiter": RateLimiter(),
    }
    return Context(**(settings | changes))


@dataclass
class _Strand:
    flow: Flow[Any]
    parent: _Strand | None = None
    place: int = 0
    waiting: list[tuple[int, Flow[Any]]] = field(default_factory=list)
    outcomes: list[Any] = field(default_factory=list)
    open: int = 0


class HandDriver:
    """``answers`` is a function of the operation and the time, or replies and exceptions in order."""

    def __init__(self, answers: Answerer | Iterable[Answer] = (), *, takes: float = 0.0) -> None:
        self._answers = answers if callable(answers) else None
        self._queue = [] if callable(answers) else list(answers)
        self._takes = takes
        self.now = 1000.0
        self.sent: list[tuple[float, Send]] = []
        self.slept: list[float] = []
        self.told: list[Any] = []
        self.most_at_once = 0
        self._heap: list[tuple[float, int, _Strand | Callable[[], object], Any]] = []
        self._order = 0
        self._sleeping: dict[int, _Strand] = {}
        self._woken: list[int] = []

    @property
    def paths(self) -> list[str]:
        return [f"{send.call.method} {send.call.path}" for _, send in self.sent]

    def looks(self) -> list[float]:
        """When polls were sent, in seconds since the start."""
        return [when - 1000.0 for when, send in self.sent if send.call.method == "GET"]

    def run(self, flow: Flow[Any]) -> Any:
        root = _Strand(flow)
        self._push(self.now, root, None)
        while self._heap:
            when, order, strand, answer = heapq.heappop(self._heap)
            if answer is _CAN_BE_WOKEN and self._sleeping.pop(order, None) is None:
                continue  # it was woken before
            self.now, answer = when, None if answer is _CAN_BE_WOKEN else answer
            if not isinstance(strand, _Strand):
                strand()
                self._wake()
                continue
            done, value = self._step(strand, answer)
            if not done:
                continue
            if strand is root:
                if isinstance(value, BaseException):
                    raise value
                return value
            if isinstance(value, BaseException) and not isinstance(value, APIMasterError):
                raise value
            self._child_ended(strand, value)
        raise AssertionError("the flow waits for something that never happens")

    def at(self, seconds: float, action: Callable[[], object]) -> None:
        """Do something so many seconds after the start, such as delivering a webhook."""
        self._push(1000.0 + seconds, action, None)

    def _note_woken(self, order: int, _: Future[None]) -> None:
        self._woken.append(order)

    def _wake(self) -> None:
        """Let whoever sleeps until something has happened go on, if it has."""
        woken, self._woken = self._woken, []
        for order in woken:
            if strand := self._sleeping.pop(order, None):
                self._push(self.now, strand, None)

    def _push(self, when: float, strand: _Strand | Callable[[], object], answer: Any) -> None:
        self._order += 1
        heapq.heappush(self._heap, (when, self._order, strand, answer))

    def _step(self, strand: _Strand, answer: Any) -> tuple[bool, Any]:
        """Drive a strand until it ends or time must pass."""
        while True:
            try:
                operation = strand.flow.throw(answer) if isinstance(answer, Exception) else strand.flow.send(answer)
            except StopIteration as end:
                return True, end.value
            except Exception as error:
                return True, error
            passes = self._perform(operation, strand)
            if passes is None:
                return False, None
            seconds, answer = passes
            if seconds > 0:
                if isinstance(operation, Sleep) and operation.until is not None:
                    answer = _CAN_BE_WOKEN
                    order = self._order + 1
                    self._sleeping[order] = strand
                    operation.until.add_done_callback(partial(self._note_woken, order))
                self._push(self.now + seconds, strand, answer)
                return False, None

    def _perform(self, operation: Operation, strand: _Strand) -> tuple[float, Any] | None:
        match operation:
            case Now():
                return 0.0, Instant(self.now, WALL + self.now - 1000.0)
            case Sleep(seconds, until):
                assert seconds >= 0
                self.slept.append(seconds)
                return 0.0 if until is not None and until.done() else seconds, None
            case Notify(callback, progress):
                self.told.append(progress)
                callback(progress)
                return 0.0, None
            case RunBlocking(function):
                try:
                    return 0.0, function()
                except Exception as error:
                    return 0.0, error
            case Await(start):
                try:
                    return 0.0, start().result()
                except Exception as error:
                    return 0.0, error
            case Send():
                assert operation.timeout > 0
                self.sent.append((self.now, operation))
                answer = self._answers(operation, self.now - 1000.0) if self._answers else self._queue.pop(0)
                return self._takes, answer
            case Fetch():
                raise AssertionError("downloads run against the emulator")
            case Gather(flows, limit):
                strand.outcomes = [None] * len(flows)
                strand.waiting = list(enumerate(flows))[::-1]
                for _ in range(min(limit, len(flows))):
                    self._start_child(strand)
                return None

    def _start_child(self, parent: _Strand) -> None:
        if not parent.waiting:
            return
        place, flow = parent.waiting.pop()
        parent.open += 1
        self.most_at_once = max(self.most_at_once, parent.open)
        self._push(self.now, _Strand(flow, parent, place), None)

    def _child_ended(self, child: _Strand, outcome: Any) -> None:
        parent = child.parent
        assert parent is not None
        parent.outcomes[child.place] = outcome
        parent.open -= 1
        self._start_child(parent)
        if parent.open == 0 and not parent.waiting:
            self._push(self.now, parent, parent.outcomes)
