"""Settle a call: put pictures into the store, correct the budget, write to the log how each image ended."""

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

from .driver import Flow, RunBlocking
from .records import StoredImage

if TYPE_CHECKING:
    from .context import ToolContext
    from .tool_call_log import LogEntry


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool returns: pictures, or a task that is not finished.

    ``cost`` is US dollars for the pictures, None where the price is not known.
    """

    images: tuple[StoredImage, ...] = ()
    model: str = ""
    tasks: tuple[str, ...] = ()
    cost: Decimal | None = None
    failures: tuple[ImageFailure, ...] = ()
    unfinished: Task | None = None


def record_task(context: ToolContext, entry: LogEntry, index: int, task: Task, price: Decimal | None) -> None:
    """The image at ``index`` has a task: from now on a replay finds it, and a failure of it is refunded. Blocks."""
    context.budget.remember(task.id, price)
    entry.task_started(index, task)


def settle_error(
    context: ToolContext, entry: LogEntry, error: APIMasterError, count: int, price: Decimal | None
) -> Flow[None]:
    """Settle a call of which none of ``count`` images arrived."""
    failures = error.failures or [ImageFailure.of(index, error) for index in range(count)]
    _settle_failures(context, entry, failures, price)
    yield RunBlocking(entry.settle)


def settle_result(
    context: ToolContext, entry: LogEntry, result: ImageResult, request: ImageRequest, price: Decimal | None
) -> Flow[ToolResult]:
    """Settle a call of which at least one image arrived.

    Raises:
        DownloadError: the pictures were made, and none of them could be saved.
    """
    stored: tuple[StoredImage, ...] = yield RunBlocking(lambda: _settle_images(context, entry, result, request, price))
    if not stored:
        raise DownloadError("The picture was made and could not be saved.", images=result.images)
    tasks = tuple(task.id for task in result.tasks if task.id)
    return ToolResult(stored, model=result.model, tasks=tasks, cost=result.cost, failures=result.failures)


def store_images(
    context: ToolContext,
    images: Sequence[GeneratedImage],
    request: ImageRequest | None,
    model: str,
    price: Decimal | None,
) -> tuple[StoredImage, ...]:
    """Register saved pictures in the store. A task is one charge, however many pictures it brings. Blocks."""
    stored: list[StoredImage] = []
    charged: set[str] = set()
    for image in images:
        if image.path is None:
            continue
        cost = Decimal(0) if price is not None and image.task_id in charged else price
        stored.append(context.store.keep_image(image, request=request, model=model, cost=cost))
        if image.task_id:
            charged.add(image.task_id)
    return tuple(stored)


def _settle_images(
    context: ToolContext, entry: LogEntry, result: ImageResult, request: ImageRequest, price: Decimal | None
) -> tuple[StoredImage, ...]:
    _settle_failures(context, entry, result.failures, price)
    stored = store_images(context, result.images, request, result.model, price)
    failed = {each.index for each in result.failures}
    arrived = [index for index in range(request.n) if index not in failed]
    without_task = [image for image in stored if image.task is None]
    for index in arrived:
        task = entry.task_of(index)
        if task is not None:
            images = [image for image in stored if image.task == task]
            context.budget.forget(task)
        elif len(arrived) == 1:
            images = without_task
        else:
            images = [without_task.pop(0)] if without_task else []
        entry.delivered(index, tuple(image.id for image in images))
    entry.settle()
    return stored


def _settle_failures(
    context: ToolContext, entry: LogEntry, failures: Sequence[ImageFailure], price: Decimal | None
) -> None:
    for failure in failures:
        entry.failed(failure.index, failure)
        if failure.billed != "no":
            continue  # an image that may have been charged stays counted
        task = entry.task_of(failure.index)
        if task is not None:
            context.budget.refund(task)
        else:
            context.budget.give_back(1, price)
