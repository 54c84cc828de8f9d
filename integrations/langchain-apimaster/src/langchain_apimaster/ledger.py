"""What each tool call asked for, written down so that a replay of it pays nothing.

A call with an id is written to the store before its request goes out, again as soon as there is a task, and again when
it ends: whoever replays it, in whatever process, finds how far it came. A call without an id can only be repeated by
``with_retry``; it is remembered in memory, and only if it ended in a way that must not be bought again.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import apimaster
from apimaster import APIMasterError, BadRequestError, OutcomeUnknownError

from .records import CallRecord, Job

if TYPE_CHECKING:
    from apimaster import ImageFailure, Task

    from .calling import Call
    from .store import Store

_MOST_UNSETTLED: Final = 1000


class Ledger:
    """Finds and keeps records of tool calls. Safe to share between threads."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._under_way: set[str] = set()
        self._unsettled: OrderedDict[str, CallRecord] = OrderedDict()

    @contextmanager
    def entry(self, call: Call, arguments: dict[str, object], model: str, count: int) -> Iterator[Entry]:
        """The page for this call, for as long as it runs.

        Raises:
            BadRequestError: the very same call is running at this moment.
        """
        key = call.key(arguments)
        retry_key = None if key is not None else call.retry_key(arguments)
        if key is not None:
            with self._lock:
                if key in self._under_way:
                    raise BadRequestError("this tool call is already running", advice="Wait for its result.")
                self._under_way.add(key)
        try:
            yield Entry(
                self,
                self._store,
                key,
                retry_key,
                call,
                CallRecord(tool=call.tool, model=model, jobs=[Job() for _ in range(count)]),
            )
        finally:
            if key is not None:
                with self._lock:
                    self._under_way.discard(key)

    def unsettled(self, key: str) -> CallRecord | None:
        """A call without an id that must not be bought again."""
        with self._lock:
            return self._unsettled.get(key)

    def keep_unsettled(self, key: str, record: CallRecord) -> None:
        """Remember such a call, in place of the oldest one where there are very many."""
        with self._lock:
            self._unsettled[key] = record
            while len(self._unsettled) > _MOST_UNSETTLED:
                self._unsettled.popitem(last=False)

    def forget_unsettled(self, key: str) -> None:
        """It is settled."""
        with self._lock:
            self._unsettled.pop(key, None)

    def __getstate__(self) -> dict[str, object]:
        return {"_store": self._store}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__init__(state["_store"])  # type: ignore[misc]


class Entry:
    """One tool call's page. ``earlier``, ``begin``, ``has_task`` and ``settle`` block."""

    def __init__(
        self, ledger: Ledger, store: Store, key: str | None, retry_key: str | None, call: Call, record: CallRecord
    ) -> None:
        self._ledger = ledger
        self._store = store
        self._key = key
        self._retry_key = retry_key
        self._is_retry = call.is_retry
        self._lock = threading.Lock()
        self._changed: set[int] = set()
        self.record = record

    def earlier(self) -> CallRecord | None:
        """How far an earlier run of this very call came; None where it may buy."""
        if self._key is not None:
            found = self._store.call(self._key)
        elif self._retry_key is not None and self._is_retry:
            found = self._ledger.unsettled(self._retry_key)
        else:
            found = None
        if found is not None:
            self.record = found
        return found

    def begin(self) -> None:
        """The request is about to go out.

        Raises:
            BadRequestError: that can't be written down.
        """
        if self._key is not None:
            self._store.begin_call(self._key, self.record)

    def has_task(self, index: int, task: Task) -> None:
        """The image at ``index`` has a task: from now on it can be found again."""
        self._store.keep_task(task)
        with self._lock:
            self.record.jobs[index] = Job(state="task", task=task.id)
            self._write(index)

    def delivered(self, index: int, images: tuple[str, ...]) -> None:
        """The image at ``index`` is in the store. ``settle`` writes it down."""
        self._change(index, state="done", images=images)
        if self.record.jobs[index].task is not None:
            self._changed.discard(index)  # the task leads to its pictures

    def failed(self, index: int, failure: ImageFailure) -> None:
        """The image at ``index`` did not arrive. ``settle`` writes it down."""
        has_task = self.record.jobs[index].task is not None
        state = "failed" if failure.billed == "no" else "task" if has_task else "unsure"
        self._change(index, state=state, error=failure.error, message=failure.message, billed=failure.billed)

    def settle(self) -> None:
        """The call has ended: write how, or forget it where nothing was bought, so that it can be made again."""
        jobs = self.record.jobs
        if self._key is not None:
            if all(job.state == "failed" for job in jobs):
                self._store.forget_call(self._key)
            else:
                for index in sorted(self._changed):
                    self._write(index)
        elif self._retry_key is not None:
            if any(job.state in ("task", "unsure", "sent") for job in jobs):
                self._ledger.keep_unsettled(self._retry_key, self.record)
            else:
                self._ledger.forget_unsettled(self._retry_key)

    def _change(self, index: int, **facts: object) -> None:
        before = self.record.jobs[index]
        after = before.model_copy(update=facts)
        if after != before:
            self.record.jobs[index] = after
            self._changed.add(index)

    def _write(self, index: int) -> None:
        if self._key is not None:
            self._store.keep_job(self._key, self.record, index)


def error_of(job: Job) -> APIMasterError:
    """The error with which a job without a task ended, or must be taken to have ended."""
    if job.state == "sent":
        return OutcomeUnknownError("An earlier run of this tool call was cut off while its request was on its way.")
    kind = getattr(apimaster, job.error or "", OutcomeUnknownError)
    return kind(job.message or "An earlier run of this tool call failed.", billed=job.billed)
