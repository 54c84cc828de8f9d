"""Waiting for a task that is already paid for.

A poll is free, so a fault while polling does not end the wait before its deadline: it only makes the next poll later.
What ends the wait early is a definite answer: finished, failed, or a refusal that another poll can't change (the key
was revoked, the task is unknown).

A webhook may tell the end sooner than a poll (``task_events``). Then polls are rare.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from .._polling.safety_net import SafetyNet
from .._polling.schedule import Key, TaskSchedule
from .._wire.errors import NO_SUCH_MODEL, error_from, task_failure
from .._wire.messages import BrokenPicture, Unreadable, read_task, task_call
from ..catalog import DEFAULT_RESOLUTION
from ..errors import (
    APIConnectionError,
    APIMasterError,
    InternalServerError,
    NoImageError,
    NotFoundError,
    OutcomeUnknownError,
    RateLimitError,
    TaskTimeoutError,
    sentence,
)
from ..results import Task
from .context import Context
from .operations import Broken, Flow, Instant, NotSent, Now, Refused, Reply, Send, Sleep
from .other_spelling import other_spelling
from .send import ASK_TIMEOUT, describe_fault, log_routing, not_reached, with_hint
from .task_events import TaskEvents

_log = logging.getLogger("apimaster")

Report = Callable[[Task], Flow[None]]

_SHORTEST_TIMEOUT: Final = 1.0
_LATEST: Final = 10.0  # seconds after the deadline: the last poll waits no longer for its turn
_INSTANT: Final = 0.001  # seconds not worth sleeping, or too few to move a clock that counts in floats
_AFTER_A_REFUSAL: Final = (
    "Fix the cause, then continue with client.wait(error.task), which is free: a new request would be a second charge."
)
_BROKEN_PICTURE: Final = (
    "Look once more with client.wait(error.task), which is free, and report this task to the vendor: "
    "a new request would be a second charge."
)
_PASSING: Final = (APIConnectionError, InternalServerError, RateLimitError)
# A task can be unknown for a moment after its submit, until the gateway's replicas agree.
_PATIENCE_WITH_UNKNOWN: Final = 5


def poll_once(context: Context, task: Task, timeout: float = ASK_TIMEOUT) -> Flow[Task]:
    """One poll of a task, without a retry; if its model is not offered under this id, one more with another spelling.

    Raises:
        APIConnectionError, InternalServerError, RateLimitError: a passing fault.
        OutcomeUnknownError: the task has succeeded, and the picture in the reply can't be decoded.
        APIMasterError: anything else that the gateway answered.
    """
    model = context.spellings.to_send(task.model)
    try:
        return (yield from _poll_by(context, task, model, timeout))
    except APIMasterError as error:
        if error.code != NO_SUCH_MODEL:
            raise
        now: Instant = yield Now()
        other = yield from other_spelling(context, model, (model,), now.monotonic + timeout)
        if other is None:
            raise
    polled = yield from _poll_by(context, task, other, timeout)
    context.spellings.choose((model, other))
    return polled


def _poll_by(context: Context, task: Task, model: str, timeout: float) -> Flow[Task]:
    """One poll that names the model by this id. Raises as ``poll_once``."""
    call = task_call(task.id, model)
    try:
        reply: Reply = yield Send(call, timeout, headers=context.headers)
    except NotSent as cause:
        raise not_reached(f"Could not poll task {task.id}: {cause}.", cause, task=task) from None
    except (Broken, Refused) as cause:
        raise APIConnectionError(f"Could not poll task {task.id}: {cause}.", task=task) from None
    log_routing(call, reply)
    if 200 <= reply.status < 300:
        try:
            return read_task(reply, task)
        except BrokenPicture as cause:
            raise OutcomeUnknownError(
                f"Task {task.id} succeeded, and the reply can't be read: {cause}.",
                billed="yes",
                status_code=reply.status,
                task=task,
                advice=_BROKEN_PICTURE,
            ) from None
        except Unreadable as cause:
            raise InternalServerError(f"Could not read task {task.id}: {cause}.", task=task) from None
    now: Instant = yield Now()
    error = with_hint(error_from(reply, paid=False, wall=now.wall), context.base_url)
    error.task, error.tasks = task, (task,)
    raise error


def poll_until_done(
    context: Context, task: Task, *, begun: float | None, deadline: float, report: Report
) -> Flow[Task]:
    """Poll until the task has succeeded.

    Args:
        context: what the client's flows share.
        task: the task as it is known.
        begun: monotonic time at which it was submitted, or None if another process did that.
        deadline: monotonic time at which the wait ends, with a last poll.
        report: called after each answered poll with the task's new state.

    Raises:
        TaskTimeoutError: the deadline passed; the task goes on.
        GenerationFailedError, ContentPolicyError: it failed, and the charge was given back.
        NoImageError: it succeeded with nothing in it.
        OutcomeUnknownError: it succeeded with a picture that can't be decoded.
        APIMasterError: the gateway refuses to tell; the task goes on and is paid for.
    """
    events = TaskEvents.of(context.waiter, context.base_url, task, fresh=begun is not None)
    begun = events.since if begun is None else begun
    try:
        return (yield from _poll(context, task, events, begun=begun, deadline=deadline, report=report))
    finally:
        events.close()


def _poll(
    context: Context, task: Task, events: TaskEvents, *, begun: float | None, deadline: float, report: Report
) -> Flow[Task]:
    key = (task.model, (task.request.resolution if task.request else None) or DEFAULT_RESOLUTION)
    now: Instant = yield Now()
    start = now.monotonic if begun is None else begun
    plan = _Plan.of(context, key, events, fresh=begun is not None)
    fault: APIMasterError | None = None
    faults = 0
    # A task of another process may have finished long ago: its first poll is due now.
    earliest = now.monotonic
    due = begun is None
    while True:
        ended = yield from _rest(plan, task, start, earliest, deadline, due=due)
        if ended is not None:
            now = yield Now()
            if begun is not None and events.slept:
                context.history.observe(key, now.monotonic - start, now.monotonic - start)
            yield from report(ended)
            return outcome_of(ended)
        due = False
        now = yield Now()
        turn = context.rate_limiter.reserve(now.monotonic)
        if turn > 0:
            # The polls of other tasks may fill the rate until long after the deadline.
            yield Sleep(min(turn, max(0.0, deadline + _LATEST - now.monotonic)))
            now = yield Now()
        sent = now.monotonic
        try:
            polled = yield from poll_once(context, task, min(ASK_TIMEOUT, max(_SHORTEST_TIMEOUT, deadline - sent)))
            task = events.explained(polled)
        except APIMasterError as error:
            fault, faults = error, faults + 1
            _log.debug("task %s: poll failed with %s", task.id, describe_fault(error))
            if isinstance(error, OutcomeUnknownError):
                raise  # the task is over
            if not _may_pass(error, faults, fresh=begun is not None):
                own = f"{error.advice} " if isinstance(error, APIConnectionError) else ""
                error.billed, error.advice = "yes", own + _AFTER_A_REFUSAL
                raise
            now = yield Now()
            earliest = now.monotonic + _pause_after(context, error, faults, now.monotonic)
        else:
            fault, faults = None, 0
            now = yield Now()
            _log.debug("task %s: %s, %.2f s after it began", task.id, describe_state(task), now.monotonic - start)
            earliest = now.monotonic
            plan.polled(sent - start, now.monotonic - start, task)
            yield from report(task)
            if task.done:
                return outcome_of(task)
        if sent >= deadline - _INSTANT:
            raise _timed_out(task, now.monotonic - start, fault)


@dataclass(frozen=True, slots=True)
class _Plan:
    """When the polls of one task are due: as usual, or rarely while a webhook is awaited."""

    usual: TaskSchedule
    rare: SafetyNet | None
    events: TaskEvents

    @classmethod
    def of(cls, context: Context, key: Key, events: TaskEvents, *, fresh: bool) -> _Plan:
        usual = TaskSchedule(context.history, key, fresh=fresh)
        rare = None
        if context.waiter is not None and events.awaited:
            rare = SafetyNet(context.history, key, margin=context.waiter.margin, place=usual.place)
        return cls(usual, rare, events)

    def nap(self, elapsed: float) -> float:
        """Seconds to sleep before asking again; 0 means: poll."""
        if self.events.hinted:
            return 0.0
        return self.rare.nap(elapsed) if self.rare is not None and self.events.rarely else self.usual.nap(elapsed)

    def polled(self, sent: float, received: float, task: Task) -> None:
        """Take in an answered poll: ``sent`` and ``received`` are seconds since the submit."""
        self.events.polled(done=task.done)
        if self.rare is not None and not task.done:
            self.rare.polled(sent)
        if task.status != "failed":  # how soon a task fails says nothing about how long one takes
            self.usual.polled(sent, received, done=task.done, progress=task.progress)


def describe_state(task: Task) -> str:
    """Status and progress of a task, for a log."""
    return task.status if task.progress is None else f"{task.status} {task.progress:.0f} %"


def _rest(plan: _Plan, task: Task, start: float, earliest: float, deadline: float, *, due: bool) -> Flow[Task | None]:
    """Sleep until the next poll is due, or until a webhook tells how the task has ended, which is returned.

    In naps, since what the polls of other tasks show may change when the poll is due.
    """
    while True:
        ended = plan.events.ended(task)
        if ended is not None or due:
            return ended
        now: Instant = yield Now()
        at = now.monotonic
        rest = max(plan.nap(at - start), earliest - at)
        left = deadline - at
        if min(rest, left) < _INSTANT:
            return None
        yield from plan.events.pause(min(rest, left))


def _pause_after(context: Context, error: APIMasterError, faults: int, now: float) -> float:
    pause = context.policy.backoff(faults)
    if isinstance(error, RateLimitError):
        context.rate_limiter.slow_down(now, error.retry_after)
        return max(pause, error.retry_after or 0.0)
    return pause


def _may_pass(error: APIMasterError, faults: int, *, fresh: bool) -> bool:
    if isinstance(error, NotFoundError):
        return fresh and faults < _PATIENCE_WITH_UNKNOWN
    if isinstance(error, APIConnectionError) and not error.retryable:
        return False  # a setting of this machine is wrong, which no later poll changes
    # A redirect is somebody in between (a page for maintenance, a login of the network), not the gateway's word.
    redirected = error.status_code is not None and 300 <= error.status_code < 400
    return redirected or isinstance(error, _PASSING)


def outcome_of(task: Task) -> Task:
    """The task itself if it succeeded with a picture; the error that it ended in otherwise."""
    if task.status == "failed":
        reason = task.error or "the gateway gave no reason"
        raise task_failure(task.error_code)(
            f"Task {task.id} failed: {sentence(reason)}",
            code=task.error_code,
            task=task,
        )
    if not task.images:
        raise NoImageError(
            f"Task {task.id} succeeded, and there is no picture in it.",
            task=task,
            advice="Report this task to the vendor, and look at the account's usage log before you ask again.",
        )
    return task


def _timed_out(task: Task, waited: float, fault: APIMasterError | None) -> TaskTimeoutError:
    trouble = f" The last poll failed: {fault.message}" if fault is not None else ""
    return TaskTimeoutError(f"The wait ended after {waited:.0f} s, and task {task.id} goes on.{trouble}", task=task)
