"""The flows behind the tools: generate and wait, submit, and collect.

``generate`` and ``submit`` spend money, and both go the same way: resume an earlier run of the same call, if there was
one; check everything that can be checked; reserve the money; log that the request goes out; send it; settle the
outcome. ``collect`` costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from apimaster import (
    APIMasterError,
    BadRequestError,
    GenerationFailedError,
    ImageFailure,
    ImageRequest,
    ImageResult,
    Task,
)

from .driver import CallClient, Flow, RunBlocking
from .progress import ProgressReporter
from .records import TASK_ID, StoredImage
from .settle import ToolResult, record_task, settle_error, settle_result, store_images
from .tool_call_log import recorded_error

if TYPE_CHECKING:
    from .call import Call
    from .context import ToolContext
    from .tool_call_log import LogEntry


@dataclass(frozen=True, slots=True)
class RequestDraft:
    """What the model asked for, completed with the application's settings; its references are not resolved yet.

    Attributes:
        arguments: as the model gave them: by them a replay of the call is recognized.
        fields: of the ``ImageRequest``, without references.
        model_references: references as the model named them; ``ReferenceResolver`` decides what it may name.
        own_references: references that the application set, taken as they are.
    """

    arguments: dict[str, Any]
    fields: dict[str, Any]
    model_references: tuple[str, ...] = ()
    own_references: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class _PreparedRequest:
    """A request that may go out: checked, paid from the budget, logged. ``price`` is US dollars per image, if known."""

    request: ImageRequest
    price: Decimal | None


def generate(context: ToolContext, call: Call, draft: RequestDraft) -> Flow[ToolResult]:
    """Generate images and wait for them.

    Raises:
        APIMasterError: none arrived.
    """
    count = draft.fields["n"]
    with context.call_log.open(call, draft.arguments, context.model, count) as entry:
        prepared: _PreparedRequest | None = yield RunBlocking(lambda: _prepare(context, call, draft, entry))
        if prepared is None:
            return (yield from _resume(context, call, entry))
        request, price = prepared.request, prepared.price
        reporter = ProgressReporter(call, lambda index, task: record_task(context, entry, index, task, price))
        try:
            result: ImageResult = yield CallClient("generate", request, context.wait_options(), reporter)
        except APIMasterError as error:
            yield from settle_error(context, entry, error, count, price)
            raise
        return (yield from settle_result(context, entry, result, request, price))


def submit(context: ToolContext, call: Call, draft: RequestDraft) -> Flow[ToolResult]:
    """Submit one image and return its task, or the picture where the gateway answered with that.

    Raises:
        APIMasterError: the gateway did not accept it, or its outcome is unknown.
    """
    with context.call_log.open(call, draft.arguments, context.model, 1) as entry:
        prepared: _PreparedRequest | None = yield RunBlocking(lambda: _prepare(context, call, draft, entry))
        if prepared is None:
            return (yield from _resume_submit(context, call, entry))
        request, price = prepared.request, prepared.price
        reporter = ProgressReporter(call, lambda index, task: record_task(context, entry, index, task, price))
        try:
            task: Task = yield CallClient("submit", request, {}, reporter)
            if task.id:
                return _submitted(task)
            # The gateway answered with the picture itself: it only has to be saved.
            result: ImageResult = yield CallClient("wait", task, context.wait_options(), ProgressReporter(call))
        except APIMasterError as error:
            yield from settle_error(context, entry, error, 1, price)
            raise
        return (yield from settle_result(context, entry, result, request, price))


def collect(context: ToolContext, call: Call, task_id: str, *, wait: bool) -> Flow[ToolResult]:
    """The picture of a task, fetched once. Without ``wait``, a task that is not finished is returned as it is.

    Raises:
        APIMasterError: the task failed, it is unknown, or the wait ended.
    """
    images, known = yield RunBlocking(lambda: (context.store.images_of(task_id), context.store.task(task_id)))
    if images:
        return ToolResult(images, model=images[0].model, tasks=(task_id,), cost=_total(images))
    task = known or Task(id=task_id, model=context.model)
    try:
        if not wait:
            polled: Task = yield CallClient("retrieve", task)
            task = polled.model_copy(update={"request": task.request})  # a poll does not say what was asked for
            if not task.done:
                return ToolResult(model=task.model, tasks=(task_id,), unfinished=task)
        result: ImageResult = yield CallClient("wait", task, context.wait_options(), ProgressReporter(call))
    except GenerationFailedError:
        context.budget.refund(task_id)
        raise
    context.budget.forget(task_id)
    request = task.request
    stored: tuple[StoredImage, ...] = yield RunBlocking(
        lambda: store_images(context, result.images, request, result.model, result.cost)
    )
    return ToolResult(stored, model=result.model, tasks=(task_id,), cost=result.cost)


def checked_task_id(text: str) -> str:
    """A task id as a model wrote it.

    Raises:
        BadRequestError: it can't be one.
    """
    task_id = text.strip()
    if not TASK_ID.fullmatch(task_id):
        raise BadRequestError(
            f"{task_id[:60]!r} is not a task id",
            advice="Give a task id as submit_image or an error message named it.",
        )
    return task_id


def _prepare(context: ToolContext, call: Call, draft: RequestDraft, entry: LogEntry) -> _PreparedRequest | None:
    """Everything that comes before the request goes out; None where this call was made before. Blocks.

    It is one step, because each step costs an event loop a trip to a thread.
    """
    if entry.find_earlier() is not None:
        return None
    references: Sequence[Any] = draft.own_references
    if draft.model_references:
        references = context.reference_resolver(call).resolve(draft.model_references)
    request = ImageRequest(**draft.fields, references=references)
    context.policy.check(request)
    price = request.spec.price(request.resolution)
    context.budget.reserve(request.n, price)
    try:
        entry.begin()
    except BaseException:
        context.budget.give_back(request.n, price)  # nothing was sent
        raise
    return _PreparedRequest(request, price)


def _resume(context: ToolContext, call: Call, entry: LogEntry) -> Flow[ToolResult]:
    """Return what an earlier run of this call has and what its tasks still bring; buy nothing.

    Raises:
        APIMasterError: there is nothing. Of several errors, it is the one after which a new request costs most.
    """
    images: list[StoredImage] = []
    errors: list[APIMasterError] = []
    failures: list[ImageFailure] = []
    for index, record in enumerate(entry.record.image_records):
        try:
            if record.images:
                images += yield from _from_store(context, record.images)
            elif record.task is not None and record.state != "failed":
                collected = yield from collect(context, call, record.task, wait=True)
                entry.delivered(index, tuple(image.id for image in collected.images))
                images += collected.images
            else:
                raise recorded_error(record)
        except APIMasterError as error:  # noqa: PERF203  # one image's error must not cost the others
            errors.append(error)
            failures.append(ImageFailure.of(index, error))
            entry.failed(index, failures[-1])
    yield RunBlocking(entry.settle)
    if not images:
        if errors:
            raise max(errors, key=lambda error: ("no", "yes", "maybe").index(error.billed))
        raise BadRequestError(
            "the pictures of this tool call are no longer in the store",
            advice="Ask for a new picture only if the user agrees to pay for it.",
        )
    tasks = tuple(record.task for record in entry.record.image_records if record.task is not None)
    return ToolResult(
        tuple(images), model=entry.record.model, tasks=tasks, cost=_total(images), failures=tuple(failures)
    )


def _resume_submit(context: ToolContext, call: Call, entry: LogEntry) -> Flow[ToolResult]:
    """The same for ``submit``: a task that is known is returned as it is, without a wait."""
    record = entry.record.image_records[0]
    task_id = record.task
    if record.state != "task" or task_id is None:
        return (yield from _resume(context, call, entry))
    known = yield RunBlocking(lambda: context.store.task(task_id))
    return _submitted(known or Task(id=task_id, model=entry.record.model))


def _submitted(task: Task) -> ToolResult:
    return ToolResult(model=task.model, tasks=(task.id,), unfinished=task)


def _from_store(context: ToolContext, ids: Sequence[str]) -> Flow[tuple[StoredImage, ...]]:
    found = yield RunBlocking(lambda: [context.store.image(each) for each in ids])
    return tuple(image for image in found if image is not None)


def _total(images: Sequence[StoredImage]) -> Decimal | None:
    known = [Decimal(image.cost_usd) for image in images if image.cost_usd is not None]
    return sum(known, Decimal(0)) if len(known) == len(images) else None
