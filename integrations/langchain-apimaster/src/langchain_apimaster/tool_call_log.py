"""What each tool call asked for, written down so that a replay of the call pays nothing.

A call with an id is written to the store before its request goes out, again as soon as there is a task, and again when
it ends, so a replay in any process finds how far the call came. Only ``with_retry`` can repeat a call without an id;
the log remembers such a call in memory, and only if a second request could be a second charge.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import apimaster
from apimaster import APIMasterError, BadRequestError, OutcomeUnknownError

from .records import CallRecord, ImageRecord

if TYPE_CHECKING:
    from apimaster import ImageFailure, Task

    from .call import Call
    from .store import Store

_MAX_UNSETTLED: Final = 1000


class ToolCallLog:
    """Finds and keeps the records of tool calls. Safe to share between threads."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._running: set[str] = set()
        self._unsettled: OrderedDict[str, CallRecord] = OrderedDict()

    @contextmanager
    def open(self, call: Call, arguments: dict[str, object], model: str, count: int) -> Iterator[LogEntry]:
        """The entry of this call, for as long as it runs. ``count`` is how many images it asks for.

        Raises:
            BadRequestError: the same call is running at this moment.
        """
        key = call.replay_key(arguments)
        retry_key = None if key is not None else call.retry_key(arguments)
        if key is not None:
            with self._lock:
                if key in self._running:
                    raise BadRequestError("this tool call is already running", advice="Wait for its result.")
                self._running.add(key)
        try:
            record = CallRecord(tool=call.tool, model=model, image_records=[ImageRecord() for _ in range(count)])
            yield LogEntry(self, self._store, key, retry_key, record, is_retry=call.is_retry)
        finally:
            if key is not None:
                with self._lock:
                    self._running.discard(key)

    def unsettled(self, key: str) -> CallRecord | None:
        """The record of a call without an id that must not be made again."""
        with self._lock:
            return self._unsettled.get(key)

    def keep_unsettled(self, key: str, record: CallRecord) -> None:
        """Remember such a call; the oldest one goes when there are very many."""
        with self._lock:
            self._unsettled[key] = record
            while len(self._unsettled) > _MAX_UNSETTLED:
                self._unsettled.popitem(last=False)

    def forget_unsettled(self, key: str) -> None:
        """The call is settled."""
        with self._lock:
            self._unsettled.pop(key, None)

    def __getstate__(self) -> dict[str, object]:
        return {"_store": self._store}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__init__(state["_store"])  # type: ignore[misc]


class LogEntry:
    """One tool call in the log. ``find_earlier``, ``begin``, ``task_started`` and ``settle`` block."""

    def __init__(
        self,
        log: ToolCallLog,
        store: Store,
        key: str | None,
        retry_key: str | None,
        record: CallRecord,
        *,
        is_retry: bool,
    ) -> None:
        self._log = log
        self._store = store
        self._key = key
        self._retry_key = retry_key
        self._is_retry = is_retry
        self._lock = threading.Lock()
        self._changed: set[int] = set()
        self.record = record

    def find_earlier(self) -> CallRecord | None:
        """How far an earlier run of this call came; None if there was none, so that this run may buy."""
        if self._key is not None:
            found = self._store.call(self._key)
        elif self._retry_key is not None and self._is_retry:
            found = self._log.unsettled(self._retry_key)
        else:
            found = None
        if found is not None:
            self.record = found
        return found

    def begin(self) -> None:
        """Write down that the request is about to go out.

        Raises:
            BadRequestError: the store can't be written.
        """
        if self._key is not None:
            self._store.begin_call(self._key, self.record)

    def task_of(self, index: int) -> str | None:
        """The id of the task of the image at ``index``, if it has one."""
        return self.record.image_records[index].task

    def task_started(self, index: int, task: Task) -> None:
        """The image at ``index`` has a task: from now on a replay can find it."""
        self._store.keep_task(task)
        with self._lock:
            self.record.image_records[index] = ImageRecord(state="task", task=task.id)
            self._write(index)

    def delivered(self, index: int, images: tuple[str, ...]) -> None:
        """The image at ``index`` is in the store. ``settle`` writes it down."""
        self._change(index, state="done", images=images)
        if self.task_of(index) is not None:
            self._changed.discard(index)  # the task leads to its pictures

    def failed(self, index: int, failure: ImageFailure) -> None:
        """The image at ``index`` did not arrive. ``settle`` writes it down."""
        has_task = self.task_of(index) is not None
        state = "failed" if failure.billed == "no" else "task" if has_task else "unsure"
        self._change(index, state=state, error=failure.error, message=failure.message, billed=failure.billed)

    def settle(self) -> None:
        """Write how the call ended. If nothing was bought, forget the call, so that it can be made again."""
        records = self.record.image_records
        if self._key is not None:
            if all(record.state == "failed" for record in records):
                self._store.forget_call(self._key)
            else:
                for index in sorted(self._changed):
                    self._write(index)
        elif self._retry_key is not None:
            if any(record.state in ("task", "unsure", "sent") for record in records):
                self._log.keep_unsettled(self._retry_key, self.record)
            else:
                self._log.forget_unsettled(self._retry_key)

    def _change(self, index: int, **facts: object) -> None:
        before = self.record.image_records[index]
        after = before.model_copy(update=facts)
        if after != before:
            self.record.image_records[index] = after
            self._changed.add(index)

    def _write(self, index: int) -> None:
        if self._key is not None:
            self._store.keep_image_record(self._key, self.record, index)


def recorded_error(record: ImageRecord) -> APIMasterError:
    """The error in which an image without a task ended, or must be taken to have ended."""
    if record.state == "sent":
        return OutcomeUnknownError("An earlier run of this tool call was cut off while its request was on its way.")
    kind = getattr(apimaster, record.error or "", OutcomeUnknownError)
    return kind(record.message or "An earlier run of this tool call failed.", billed=record.billed)
