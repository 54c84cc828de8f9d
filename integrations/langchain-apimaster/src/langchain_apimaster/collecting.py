"""The flows that cost nothing: fetch the picture of a task, and take up a call that was made before."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from apimaster import (
    APIMasterError,
    BadRequestError,
    GenerationFailedError,
    ImageFailure,
    ImageResult,
    Task,
)

from .booking import Delivered, keep
from .ledger import error_of
from .progress import Reporter
from .records import TASK_ID, StoredImage
from .steps import Ask, Disk, Flow

if TYPE_CHECKING:
    from .calling import Call
    from .ledger import Entry
    from .studio import Studio


def checked_task(word: str) -> str:
    """A task id as a model wrote it.

    Raises:
        BadRequestError: it can't be one.
    """
    task = word.strip()
    if not TASK_ID.fullmatch(task):
        raise BadRequestError(
            f"{task[:60]!r} is not a task id", advice="Give a task id as submit_image or an error message named it."
        )
    return task


def collect(studio: Studio, call: Call, task_id: str, *, wait: bool) -> Flow[Delivered]:
    """The picture of a task, fetched once; or the task itself, if it is not finished and nobody wants to wait.

    Raises:
        APIMasterError: it failed, it is unknown, or the wait ended.
    """
    images, known = yield Disk(lambda: (studio.store.images_of(task_id), studio.store.task(task_id)))
    if images:
        return Delivered(images, model=images[0].model, tasks=(task_id,), cost=_sum(images))
    task = known or Task(id=task_id, model=studio.model)
    try:
        if not wait:
            looked: Task = yield Ask("retrieve", task)
            task = looked.model_copy(update={"request": task.request})  # a look doesn't tell what was asked for
            if not task.done:
                return Delivered(model=task.model, tasks=(task_id,), going_on=task)
        result: ImageResult = yield Ask("wait", task, studio.handling(), Reporter(call))
    except GenerationFailedError:
        studio.budget.refund(task_id)
        raise
    studio.budget.forget(task_id)
    request = task.request
    kept: tuple[StoredImage, ...] = yield Disk(lambda: keep(studio, result.images, request, result.model, result.cost))
    return Delivered(kept, model=result.model, tasks=(task_id,), cost=result.cost)


def take_up(studio: Studio, call: Call, entry: Entry) -> Flow[Delivered]:
    """A call that was made before: what it has, what its tasks still bring, and nothing new.

    Raises:
        APIMasterError: it has nothing and brings nothing; the error is the one after which carelessness costs most.
    """
    images: list[StoredImage] = []
    errors: list[APIMasterError] = []
    failures: list[ImageFailure] = []
    for index, job in enumerate(entry.record.jobs):
        try:
            if job.images:
                images += yield from _from_store(studio, job.images)
            elif job.task is not None and job.state != "failed":
                delivered = yield from collect(studio, call, job.task, wait=True)
                entry.delivered(index, tuple(image.id for image in delivered.images))
                images += delivered.images
            else:
                raise error_of(job)
        except APIMasterError as error:  # noqa: PERF203  # one image's error must not cost the others
            errors.append(error)
            failures.append(ImageFailure.of(index, error))
            entry.failed(index, failures[-1])
    yield Disk(entry.settle)
    if not images:
        if errors:
            raise max(errors, key=lambda error: ("no", "yes", "maybe").index(error.billed))
        raise BadRequestError(
            "the pictures of this tool call are no longer in the store",
            advice="Ask for a new picture only if the user agrees to pay for it.",
        )
    tasks = tuple(job.task for job in entry.record.jobs if job.task is not None)
    return Delivered(tuple(images), model=entry.record.model, tasks=tasks, cost=_sum(images), failures=tuple(failures))


def _from_store(studio: Studio, ids: Sequence[str]) -> Flow[tuple[StoredImage, ...]]:
    found = yield Disk(lambda: [studio.store.image(each) for each in ids])
    return tuple(image for image in found if image is not None)


def _sum(images: Sequence[StoredImage]) -> Decimal | None:
    known = [Decimal(image.cost_usd) for image in images if image.cost_usd is not None]
    return sum(known, Decimal(0)) if len(known) == len(images) else None
