"""Wait by webhook: the application's web framework hands deliveries over, and the calls that wait are woken.

Strategy: one lock guards small tables, each with a bound, so that neither deliveries nor forgotten tasks fill the
memory. A waiting call holds a future for its task; the delivery's thread completes it outside the lock. That wakes a
thread or an event loop, whichever the call runs on.

An event may be here before anybody waits for it, even before the reply to the submit was read. So the newest report
of each task is kept for a while, and a wait that begins later finds it.
"""

from __future__ import annotations

import json
import logging
import math
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeVar

from ..errors import BadRequestError
from ..request import Webhook
from ..results import Task
from .asgi import WebhookApp
from .delivery import (
    DEFAULT_TOLERANCE,
    TASK_COMPLETED,
    TASK_FAILED,
    VERIFICATION,
    WebhookEvent,
    challenge_response,
    parse_webhook,
)
from .signature import WebhookSecrets, WebhookVerificationError

DEFAULT_MARGIN: Final = 30.0
"""Seconds beyond the expected end of a task after which it is polled, if no event came."""
KEPT: Final = 20_000
"""Reports that are kept for waits that have not begun."""
KEPT_FOR: Final = 3600.0
"""Seconds for which they are kept."""

_IDS_KEPT: Final = 5  # times as many ids of events and of submitted tasks as reports: they are small
_SILENT_AFTER: Final = 3  # deliveries that were lost, one after the other
_log = logging.getLogger("apimaster")
T = TypeVar("T")


class WebhookReply(NamedTuple):
    """What to answer to a delivery: an HTTP status, and a body of JSON (``Content-Type: application/json``)."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class TaskReport:
    """What a verified event says of a task, and when it came, in monotonic seconds."""

    task: Task
    task_url: str | None
    came: float


class WebhookWaiter:
    """Takes deliveries, and wakes the calls of clients that wait for these tasks. Many threads and loops can share one.

    Give it to clients (``APIMaster(webhook_waiter=waiter)``), and hand each delivery to ``handle``, or mount ``asgi``.

    Args:
        secret: the endpoint's secret, or several, as for ``parse_webhook``, or a function that returns them: it is
            called for each delivery, so that a secret can be replaced while the program runs.
        endpoint_id: the id of the webhook endpoint (``whep_…``) that leads here. Submits that name no webhook ask for
            events at this one. An idempotency key stands for the same request with it and without it. None: only
            calls with ``webhook=`` ask for events.
        margin: seconds, above 0. A task whose event does not come is polled this long after it should have ended, and
            then more and more rarely.
        tolerance: seconds by which a delivery may differ from this machine's clock.
        keep: how many reports are kept for waits that have not begun, 1 or more.
        keep_for: seconds for which they are kept, above 0.

    Raises:
        BadRequestError: an argument is not accepted, such as an empty secret.
    """

    def __init__(
        self,
        secret: WebhookSecrets | Callable[[], WebhookSecrets],
        *,
        endpoint_id: str | None = None,
        margin: float = DEFAULT_MARGIN,
        tolerance: float = DEFAULT_TOLERANCE,
        keep: int = KEPT,
        keep_for: float = KEPT_FOR,
    ) -> None:
        self._secret = secret
        if not callable(secret):
            _check_secret(secret)
        if endpoint_id is not None and not (isinstance(endpoint_id, str) and endpoint_id.strip()):
            raise BadRequestError(f"endpoint_id must be the id of a webhook endpoint, not {endpoint_id!r}")
        self.webhook = None if endpoint_id is None else Webhook(endpoint_id=endpoint_id.strip())
        self.margin = _positive("margin", margin, sys.float_info.max)
        self._tolerance = _positive("tolerance", tolerance)
        self._keep_for = _positive("keep_for", keep_for)
        if type(keep) is not int or keep < 1:
            raise BadRequestError(f"keep must be a whole number, 1 or more, not {keep!r}")
        self._keep = keep
        self._lock = threading.Lock()
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._reports: OrderedDict[str, TaskReport] = OrderedDict()
        self._submitted: OrderedDict[str, float] = OrderedDict()
        self._watches: dict[str, list[TaskWatch]] = {}
        self._lost = 0
        self._refused = 0

    @property
    def endpoint_id(self) -> str | None:
        """The endpoint that submits ask for by default."""
        return None if self.webhook is None else self.webhook.endpoint_id

    # --- deliveries -------------------------------------------------------------------------------------------------

    def handle(self, body: bytes, headers: Mapping[str, str]) -> WebhookReply:
        """Verify a delivery, take its event, and say what to answer. It does not block; call it from any thread.

        Args:
            body: the raw body, byte for byte.
            headers: the delivery's headers, in upper or lower case.

        Returns:
            200 for an event, known or new, and for the gateway's challenge, which the body answers. 400 for what the
            gateway did not send: nothing of that is believed.

        Raises:
            BadRequestError: ``body`` is not bytes, or the function behind ``secret`` returned nothing that is accepted.
        """
        secret = self._secret() if callable(self._secret) else self._secret
        try:
            event = parse_webhook(body, headers, secret, tolerance=self._tolerance)
        except WebhookVerificationError as error:
            self._log_refusal(error)
            return _reply(400, {"error": str(error)})
        if event.type == VERIFICATION:
            try:
                return _reply(200, challenge_response(event))
            except BadRequestError as error:
                return _reply(400, {"error": error.message})
        self.accept(event)
        return _reply(200, {})

    def accept(self, event: WebhookEvent) -> bool:
        """Take an event that ``parse_webhook`` has verified, if your own code did that. False: it was here before."""
        task = event.task or _named(event)
        url = event.data.get("task_url")
        now = time.monotonic()
        wake: list[Future[None]] = []
        with self._lock:
            self._lost = 0  # deliveries arrive
            if event.id in self._seen:
                return False
            self._seen[event.id] = None
            _shorten(self._seen, _IDS_KEPT * self._keep)
            if task is not None:
                new = TaskReport(task, url if isinstance(url, str) else None, now)
                report = _merged(self._reports.get(task.id), new)
                self._keep_report(task.id, report, now)
                wake = [watch.tell(report) for watch in self._watches.get(task.id, ())]
        for future in wake:  # outside the lock: this runs the code of whoever waits
            future.set_result(None)
        return True

    @property
    def asgi(self) -> WebhookApp:
        """This waiter as an ASGI application, to be mounted at a path: ``app.mount("/webhooks", waiter.asgi)``."""
        return WebhookApp(self.handle)

    def _log_refusal(self, error: WebhookVerificationError) -> None:
        with self._lock:
            self._refused += 1
            count = self._refused
        # Anybody can send a forged delivery: so there is a line for the first, the second, the fourth, the eighth …
        level = logging.DEBUG if count & (count - 1) else logging.WARNING
        _log.log(level, "A delivery was refused (the %d. so far): %s", count, error.message)

    def _keep_report(self, task_id: str, report: TaskReport, now: float) -> None:
        self._reports[task_id] = report
        self._reports.move_to_end(task_id)
        _shorten(self._reports, self._keep)
        while self._reports:
            oldest = next(iter(self._reports))
            if now - self._reports[oldest].came <= self._keep_for:
                return
            del self._reports[oldest]

    # --- what the flows of clients call -----------------------------------------------------------------------------

    @property
    def silent(self) -> bool:
        """Whether the last events did not come, one after the other. Tasks are then polled as without a webhook."""
        return self._lost >= _SILENT_AFTER

    def expect(self, task_id: str, since: float) -> None:
        """Clients call this: a task was submitted at this monotonic time, and its event comes here."""
        with self._lock:
            self._submitted[task_id] = since
            _shorten(self._submitted, _IDS_KEPT * self._keep)

    def expected_since(self, task_id: str) -> float | None:
        """Clients call this: the time that ``expect`` was told; None if it was not."""
        with self._lock:
            return self._submitted.get(task_id)

    def missed(self) -> None:
        """Clients call this: a poll found the end of a task whose event has not come."""
        with self._lock:
            self._lost += 1
            lost = self._lost
        if lost == _SILENT_AFTER:
            _log.warning("%d webhooks in a row did not come: tasks are polled as usual until one does", lost)

    def watch(self, task_id: str) -> TaskWatch:
        """Clients call this: begin to watch a task."""
        watch = TaskWatch(self, task_id)
        now = time.monotonic()
        with self._lock:
            kept = self._reports.get(task_id)
            if kept is not None and now - kept.came <= self._keep_for:
                watch.tell(kept)
            self._watches.setdefault(task_id, []).append(watch)
        return watch

    def end(self, watch: TaskWatch) -> None:
        """Clients call this: end a watch. Ending it twice does no harm."""
        with self._lock:
            watches = self._watches.get(watch.task_id, [])
            if watch in watches:
                watches.remove(watch)
            if not watches:
                self._watches.pop(watch.task_id, None)


class TaskWatch:
    """What one waiting call hears of its task. Clients use it."""

    __slots__ = ("_report", "_waiter", "_woken", "task_id")

    def __init__(self, waiter: WebhookWaiter, task_id: str) -> None:
        self.task_id = task_id
        self._waiter = waiter
        self._report: TaskReport | None = None
        self._woken: Future[None] = Future()

    @property
    def woken(self) -> Future[None]:
        """Done as soon as there is a report that was not taken yet."""
        with self._waiter._lock:
            if self._report is None:
                return self._woken
        there: Future[None] = Future()
        there.set_result(None)
        return there

    def take(self) -> TaskReport | None:
        """The newest report that was not taken yet."""
        with self._waiter._lock:
            report, self._report = self._report, None
            return report

    def tell(self, report: TaskReport) -> Future[None]:
        """Under the lock of the waiter: leave a report. The caller completes the future that this returns, once."""
        self._report = report
        told, self._woken = self._woken, Future()
        return told

    def close(self) -> None:
        """End the watch."""
        self._waiter.end(self)


def _merged(old: TaskReport | None, new: TaskReport) -> TaskReport:
    """The report to keep of two about one task, from different events."""
    if old is None or not old.task.done:
        return new
    if not new.task.done:
        return old
    if old.task.status != new.task.status:  # both are signed, and one is wrong: a poll has to tell
        return TaskReport(new.task.model_copy(update={"status": "running"}), new.task_url, new.came)
    return new


def _named(event: WebhookEvent) -> Task | None:
    """The task of an event about an end that does not say of which model it is: enough for a poll, and for no more."""
    task_id = event.data.get("task_id")
    ends = event.type in (TASK_COMPLETED, TASK_FAILED)
    return Task(id=task_id, model="", status="running") if ends and isinstance(task_id, str) else None


def _shorten(table: OrderedDict[str, T], limit: int) -> None:
    while len(table) > limit:
        table.popitem(last=False)


def _reply(status: int, document: dict[str, str]) -> WebhookReply:
    return WebhookReply(status, json.dumps(document).encode())


def _check_secret(secret: WebhookSecrets) -> None:
    """Raise BadRequestError unless ``secret`` can verify a delivery: better now than at the first one."""
    try:
        parse_webhook(b"", {"x-apimaster-timestamp": "0", "x-apimaster-signature": "v1=0"}, secret)
    except WebhookVerificationError:
        return


def _positive(name: str, value: float, limit: float = math.inf) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= limit:
        finite = "" if limit == math.inf else "finite "
        raise BadRequestError(f"{name} must be a {finite}number of seconds above 0, not {value!r}")
    return float(value)
