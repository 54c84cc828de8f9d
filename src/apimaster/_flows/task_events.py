"""What webhooks say of a task while a call waits for it.

A ``WebhookWaiter`` (``apimaster.webhooks``) takes the deliveries. It gives a flow the verified reports of one task,
and a future that is done as soon as there is a new one. This module decides what a report is worth:

=======================================  ===========================================================
report                                   what follows
=======================================  ===========================================================
succeeded, with pictures                 believed: the task is over, without a poll
failed                                   one poll, at once: an end without a picture allows a second
                                         purchase, so the gateway has to say it itself
without pictures, or contradictory       one poll, at once; then the usual polls
of another gateway, or of none that it   the same: two gateways may use the same id
names, or of another model
none                                     rare polls, in case the delivery is lost (``_polling.safety_net``)
=======================================  ===========================================================

If one delivery after the other is lost, the endpoint does not work, and tasks are polled as without a webhook until an
event arrives.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import urlsplit

from ..catalog import same_model
from .operations import Flow, Sleep

if TYPE_CHECKING:
    from concurrent.futures import Future

    from ..request import ImageRequest, Webhook
    from ..results import Task

_log = logging.getLogger("apimaster")

_COMPLETED: Final = "task.completed"
_NOTIFICATIONS: Final = "notifications"  # a caller may write this member of the body in extra_body


class Report(Protocol):
    """What a verified event says of a task."""

    @property
    def task(self) -> Task:
        """The task as the event has it."""

    @property
    def task_url(self) -> str | None:
        """Where the gateway that sent the event has the task."""


class Watch(Protocol):
    """The reports of one task, for one waiting flow."""

    @property
    def woken(self) -> Future[None]:
        """Done as soon as there is a report that was not taken yet."""

    def take(self) -> Report | None:
        """The newest report that was not taken yet."""

    def close(self) -> None:
        """End the watch."""


class WaiterLike(Protocol):
    """What the flows need of a ``WebhookWaiter``."""

    @property
    def webhook(self) -> Webhook | None:
        """What calls ask for that name no webhook themselves."""

    @property
    def margin(self) -> float:
        """Seconds: see ``SafetyNet``."""

    @property
    def silent(self) -> bool:
        """Whether the last deliveries were lost, one after the other."""

    def expect(self, task_id: str, since: float) -> None: ...
    def expected_since(self, task_id: str) -> float | None: ...
    def missed(self) -> None: ...
    def watch(self, task_id: str) -> Watch: ...


def with_webhook(waiter: WaiterLike | None, request: ImageRequest) -> ImageRequest:
    """The request as it goes out: with the waiter's endpoint if the call names none.

    Everywhere else the request stays as the caller asked for it: an idempotency key stands for that.
    """
    if waiter is None or waiter.webhook is None or request.webhook is not None or _NOTIFICATIONS in request.extra_body:
        return request
    return request.model_copy(update={"webhook": waiter.webhook})


def expects(waiter: WaiterLike, request: ImageRequest | None) -> bool:
    """Whether an event of a task that was bought by ``request`` comes to ``waiter``, as far as one can tell."""
    if request is None:
        return True  # only its id is known: whoever waits with a waiter means to hear of it
    webhook = request.webhook or waiter.webhook
    if webhook is None or _COMPLETED not in webhook.events or _NOTIFICATIONS in request.extra_body:
        return False
    return waiter.webhook is None or webhook.endpoint_id == waiter.webhook.endpoint_id


def note_submitted(waiter: WaiterLike | None, task: Task, sent: ImageRequest, now: float) -> None:
    """Remember that the gateway reports the end of ``task``, which was just bought by ``sent``."""
    if waiter is not None and sent.webhook is not None and task.id and expects(waiter, sent):
        waiter.expect(task.id, now)


@dataclass(slots=True)
class TaskEvents:
    """The webhook's side of one wait.

    Attributes:
        since: monotonic time of the submit, if this process made it and asked for an event.
        awaited: whether an event comes, as far as one can tell.
        hinted: whether a report wants one poll at once.
        slept: whether the wait has slept, so that a report that ends it came just now.
        failure: the failed task of a report that a poll has yet to confirm. Polls often bring no reason.
    """

    base_url: str
    waiter: WaiterLike | None = None
    watch: Watch | None = None
    since: float | None = None
    awaited: bool = False
    hinted: bool = False
    slept: bool = False
    failure: Task | None = None

    @classmethod
    def of(cls, waiter: WaiterLike | None, base_url: str, task: Task, *, fresh: bool) -> TaskEvents:
        """Begin to watch a task. ``fresh``: this call has just bought it."""
        if waiter is None or not task.id:
            return cls(base_url)
        since = waiter.expected_since(task.id)
        awaited = since is not None or (not fresh and expects(waiter, task.request))
        return cls(base_url, waiter, waiter.watch(task.id), since, awaited)

    @property
    def rarely(self) -> bool:
        """Whether polls are a safety net only."""
        return self.awaited and not (self.waiter is None or self.waiter.silent)

    def ended(self, task: Task) -> Task | None:
        """The end of ``task`` if a new report tells it for certain. ``hinted`` is set if the report is only a hint."""
        report = None if self.watch is None else self.watch.take()
        if report is None:
            return None
        told = report.task
        certain = self._is_of(task, report)
        self.failure = told if certain and told.status == "failed" else None
        if told.status != "succeeded" or not certain:
            _log.debug("task %s: a webhook reports it, and the task is polled to make sure", task.id)
            # The usual polls from now on: the task has ended, or is about to.
            self.hinted, self.awaited = True, False
            return None
        _log.debug("task %s: %s, as a webhook reports", task.id, told.status)
        return task.model_copy(update={"status": told.status, "images": told.images})

    def explained(self, task: Task) -> Task:
        """A task after a poll, with the reason from a report if it has failed and the poll does not say why."""
        if self.failure is None or task.status != "failed" or task.error or task.error_code:
            return task
        return task.model_copy(update={"error": self.failure.error, "error_code": self.failure.error_code})

    def pause(self, seconds: float) -> Flow[None]:
        """Sleep, and wake for a report."""
        self.slept = True
        yield Sleep(seconds) if self.watch is None else Sleep(seconds, self.watch.woken)

    def polled(self, *, done: bool) -> None:
        """A poll was answered."""
        self.hinted = False
        if done and self.awaited and self.waiter is not None:
            self.waiter.missed()

    def close(self) -> None:
        """End the watch."""
        if self.watch is not None:
            self.watch.close()

    def _is_of(self, task: Task, report: Report) -> bool:
        """Whether a report is certainly of this task: from its gateway, and of its model."""
        here = report.task_url is not None and _origin(report.task_url) == _origin(self.base_url)
        return here and same_model(report.task.model, task.model)


def _origin(url: str) -> tuple[str, str] | None:
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:  # it comes from outside
        return None
    default = {"http": 80, "https": 443}.get(parts.scheme.lower())
    return parts.scheme.lower(), f"{host}:{port or default}"
