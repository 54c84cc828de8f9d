"""What became of a call, put where it belongs.

Pictures go into the store, money into the budget, facts into the ledger.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from apimaster import (
    APIMasterError,
    DownloadError,
    GeneratedImage,
    ImageFailure,
    ImageRequest,
    ImageResult,
    Task,
)

from .records import StoredImage
from .steps import Disk, Flow

if TYPE_CHECKING:
    from .ledger import Entry
    from .studio import Studio


@dataclass(frozen=True, slots=True)
class Delivered:
    """What a tool hands back: pictures, or a task that goes on.

    ``cost`` is US dollars for the pictures, None where the price is not known.
    """

    images: tuple[StoredImage, ...] = ()
    model: str = ""
    tasks: tuple[str, ...] = ()
    cost: Decimal | None = None
    failures: tuple[ImageFailure, ...] = ()
    going_on: Task | None = None


def note_task(studio: Studio, entry: Entry, index: int, task: Task, price: Decimal | None) -> None:
    """The image at ``index`` has a task: from now on it can be found again, and given back if it fails. Blocks."""
    studio.budget.remember(task.id, price)
    entry.has_task(index, task)


def book_error(studio: Studio, entry: Entry, error: APIMasterError, count: int, price: Decimal | None) -> Flow[None]:
    """None of ``count`` images arrived."""
    _book(studio, entry, error.failures or [ImageFailure.of(index, error) for index in range(count)], price)
    yield Disk(entry.settle)


def deliver(
    studio: Studio, entry: Entry, result: ImageResult, request: ImageRequest, price: Decimal | None
) -> Flow[Delivered]:
    """Keep what arrived, and book what did not.

    Raises:
        DownloadError: it was made, and nothing of it could be saved.
    """
    kept: tuple[StoredImage, ...] = yield Disk(lambda: _close(studio, entry, result, request, price))
    if not kept:
        raise DownloadError("The picture was made and could not be saved.", images=result.images)
    tasks = tuple(task.id for task in result.tasks if task.id)
    return Delivered(kept, model=result.model, tasks=tasks, cost=result.cost, failures=result.failures)


def _close(
    studio: Studio, entry: Entry, result: ImageResult, request: ImageRequest, price: Decimal | None
) -> tuple[StoredImage, ...]:
    _book(studio, entry, result.failures, price)
    kept = keep(studio, result.images, request, result.model, price)
    lost = {each.index for each in result.failures}
    arrived = [index for index in range(request.n) if index not in lost]
    after_one_shots = [image for image in kept if image.task is None]
    for index in arrived:
        task = entry.record.jobs[index].task
        if task is not None:
            mine = [image for image in kept if image.task == task]
            studio.budget.forget(task)
        elif len(arrived) == 1:
            mine = after_one_shots
        else:
            mine = [after_one_shots.pop(0)] if after_one_shots else []
        entry.delivered(index, tuple(image.id for image in mine))
    entry.settle()
    return kept


def keep(
    studio: Studio,
    images: Sequence[GeneratedImage],
    request: ImageRequest | None,
    model: str,
    price: Decimal | None,
) -> tuple[StoredImage, ...]:
    """Take the saved pictures into the store. A task is one charge, however many pictures it brings. Blocks."""
    kept: list[StoredImage] = []
    charged: set[str] = set()
    for image in images:
        if image.path is None:
            continue
        cost = Decimal(0) if price is not None and image.task_id in charged else price
        kept.append(studio.store.keep_image(image, request=request, model=model, cost=cost))
        if image.task_id:
            charged.add(image.task_id)
    return tuple(kept)


def _book(studio: Studio, entry: Entry, failures: Sequence[ImageFailure], price: Decimal | None) -> None:
    for each in failures:
        entry.failed(each.index, each)
        if each.billed != "no":
            continue  # what may have been charged stays counted
        task = entry.record.jobs[each.index].task
        if task is not None:
            studio.budget.refund(task)
        else:
            studio.budget.give_back(1, price)
