"""The record of a task that somebody collects by its id: the purchases in the ledger that it belongs to."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ..errors import APIMasterError, DownloadError, LedgerError
from ..ledger.purchase import failure_json, images_json
from ..ledger.rows import Row
from ..ledger.schema import Where
from ..ledger.steps import Delivered, Ended, Step
from ..results import GeneratedImage, Task
from .operations import Await, Flow
from .purchase import LedgerLike, Record, ended_the_task, record_step

_log = logging.getLogger("apimaster")


def record_of_task(ledger: LedgerLike, task: Task) -> Flow[TaskRecord]:
    """The record of a task: of the purchases that it belongs to, if the ledger knows any."""
    where = Where(task_id=task.id, states=("submitted", "delivered", "saved", "unknown"))
    rows: list[Row] = []
    try:
        rows = yield Await(lambda: ledger.call(lambda backend: backend.rows(where, None, 10)))
    except LedgerError as error:  # the task is paid for: it is collected all the same
        _log.warning("task %s: %s", task.id, error.message)
    return TaskRecord(ledger, [row.id for row in rows], task.id)


@dataclass(slots=True)
class TaskRecord(Record):
    """The record of a task that somebody collects by its id: the purchases in the ledger that it belongs to."""

    ledger: LedgerLike
    rows: Iterable[tuple[str, int]]
    task_id: str | None

    def delivered(self, images: Sequence[GeneratedImage], *, saved: bool = False, keep: bool = False) -> Flow[None]:
        yield from self._take(Delivered, images=images_json(tuple(images)), saved=saved, keep=keep)

    def failed(self, error: APIMasterError) -> Flow[None]:
        if ended_the_task(error) and not isinstance(error, DownloadError):  # that picture is made: it stays delivered
            text = failure_json(error, prompts=self.ledger.store_prompts)
            yield from self._take(Ended, state="failed" if error.billed == "no" else "unknown", error=text)

    def _take(self, kind: Callable[..., Step], **fields: object) -> Flow[None]:
        for key, index in self.rows:
            yield from record_step(self.ledger, kind(key=key, index=index, task_id=self.task_id, **fields))
