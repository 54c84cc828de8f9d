"""One image of a call on its way: its place in the call, its deadline, its record in the ledger, its progress."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from .._references.checked import CheckedReference
from .._storage.target import Target
from ..request import ReferencesBy
from ..results import GeneratedImage, OnProgress, Progress, Stage, Task
from .operations import Flow, Instant, Notify, Now
from .purchase import NO_RECORD, Record


@dataclass(frozen=True, slots=True)
class CallOptions:
    """The options of a call.

    Attributes:
        timeout: seconds for the whole call; None: by resolution.
        target: the place for its pictures; None: they are not saved.
        on_progress: the function to call with its progress.
        key: the idempotency key; None: the call has none.
        budget: the name of the budget that it counts against.
        references_by: how local references go out.
    """

    timeout: float | None = None
    target: Target | None = None
    on_progress: OnProgress | None = None
    key: str | None = None
    budget: str | None = None
    references_by: ReferencesBy = "auto"


@dataclass(frozen=True, slots=True)
class ImageRun:
    """One image of a call: its place in the call, its deadline, and the options of the caller."""

    options: CallOptions
    begun: Instant
    deadline: float
    index: int = 0
    total: int = 1
    references: Sequence[CheckedReference] = field(default=())
    record: Record = NO_RECORD

    def report(self, stage: Stage, task: Task | None = None, image: GeneratedImage | None = None) -> Flow[None]:
        """Tell the caller which step this image has reached."""
        if self.options.on_progress is None:
            return
        now: Instant = yield Now()
        progress = Progress(
            stage=stage,
            index=self.index,
            total=self.total,
            elapsed=now.monotonic - self.begun.monotonic,
            percent=100.0 if stage == "done" else task.progress if task is not None else None,
            task=task,
            image=image,
            joined=self.record.joined,
        )
        yield Notify(self.options.on_progress, progress)

    def report_task(self, task: Task) -> Flow[None]:
        """Tell the caller what the gateway says of the task."""
        if task.status != "succeeded":
            yield from self.report(task.status, task)
