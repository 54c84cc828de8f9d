"""The flows behind the tools: generate and wait, submit, and collect.

``generate`` and ``submit`` spend money, and both go the same way: check everything that can be checked, find the key of
the purchase, and pass it to the client, which buys each image once and writes that into the ledger. ``collect`` costs
nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING

from apimaster import BadRequestError, ImageResult, NotFoundError, ResultExpiredError, Task
from apimaster.ledger.purchase import images_json, purchase_from
from apimaster.ledger.schema import Where
from apimaster.ledger.spend import cost_to_report
from apimaster.ledger.steps import Delivered

from .drafts import CompleteRequest, RequestDraft, complete
from .driver import CallClient, Flow, RunBlocking
from .old_calls import key_in_use, old_purchases, resume_old_call
from .progress import ProgressReporter
from .purchase_keys import PREFIX, PurchaseKey
from .records import TASK_ID, StoredImage
from .results import ToolResult, store_images, stored_result
from .store import digest_of

if TYPE_CHECKING:
    from apimaster.ledger.rows import Row

    from .call import Call
    from .context import ToolContext


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of a task before anybody asks the gateway.

    Attributes:
        task: the task, with its request if the ledger has it.
        images: its pictures in the store.
        is_complete: whether all their files are there.
        is_counted: whether an earlier call has brought the picture, and with it the cost, as far as this one can see.
    """

    task: Task
    images: tuple[StoredImage, ...]
    is_complete: bool
    is_counted: bool


def generate(context: ToolContext, call: Call, draft: RequestDraft) -> Flow[ToolResult]:
    """Generate images and wait for them.

    Raises:
        APIMasterError: none arrived.
    """
    asked: CompleteRequest = yield RunBlocking(lambda: complete(context, call, draft))
    result = yield from _generate(context, call, draft, asked)
    return replace(result, attachments=asked.attachments)


def _generate(context: ToolContext, call: Call, draft: RequestDraft, asked: CompleteRequest) -> Flow[ToolResult]:
    request = asked.request
    with context.keys.open(call, asked.digests, draft.equals) as opened:
        key = yield from _key(context, opened)
        if context.ledger.has_old_calls:
            old = yield RunBlocking(lambda: old_purchases(context, call, draft.arguments, key))
            if old:
                return (yield from resume_old_call(context, old, lambda task: collect(context, call, task, wait=True)))
        result: ImageResult = yield CallClient(
            "generate", request, context.purchase_options(key) | context.wait_options(), ProgressReporter(call)
        )
        stored: ToolResult = yield RunBlocking(lambda: stored_result(context, result, request, key))
        return stored


def submit(context: ToolContext, call: Call, draft: RequestDraft) -> Flow[ToolResult]:
    """Submit one image and return its task, or the picture where the gateway answered with that.

    Raises:
        APIMasterError: the gateway did not accept it, or its outcome is unknown.
    """
    asked: CompleteRequest = yield RunBlocking(lambda: complete(context, call, draft))
    result = yield from _submit(context, call, draft, asked)
    return replace(result, attachments=asked.attachments)


def _submit(context: ToolContext, call: Call, draft: RequestDraft, asked: CompleteRequest) -> Flow[ToolResult]:
    request = asked.request
    with context.keys.open(call, asked.digests, draft.equals) as opened:
        key = yield from _key(context, opened)
        if context.ledger.has_old_calls:
            old = yield RunBlocking(lambda: old_purchases(context, call, draft.arguments, key))
            if old and old[0].state == "submitted" and old[0].task is not None:
                return _submitted(old[0].task, replayed=True)
            if old:
                return (yield from resume_old_call(context, old, lambda task: collect(context, call, task, wait=True)))
        reporter = ProgressReporter(call)
        task: Task = yield CallClient("submit", request, context.purchase_options(key), reporter)
        if task.id and task.done:
            return (yield from collect(context, call, task.id, wait=True))
        if task.id:
            return _submitted(task, replayed=not reporter.has_task)
        # The gateway answered with the picture itself: it only has to be saved.
        options = context.wait_options()
        result: ImageResult
        if any(image.path is not None for image in task.images):  # an earlier call has saved it
            result = yield CallClient("generate", request, options | context.purchase_options(key), reporter)
        else:
            result = yield CallClient("wait", task, options, ProgressReporter(call))
            yield RunBlocking(lambda: _record_saved(context, key, result))
        stored: ToolResult = yield RunBlocking(lambda: stored_result(context, result, request, key))
        return stored


def collect(context: ToolContext, call: Call, task_id: str, *, wait: bool) -> Flow[ToolResult]:
    """The picture of a task, fetched once. Without ``wait``, a task that is not finished is returned as it is.

    Raises:
        APIMasterError: the task failed, it is unknown, or the wait ended.
    """
    known: _Known = yield RunBlocking(lambda: _look_up(context, call, task_id))
    if known.is_complete:
        cost: Decimal | None = yield RunBlocking(lambda: _cost_to_report(context, task_id, Decimal(0)))
        return ToolResult(known.images, model=known.images[0].model, tasks=(task_id,), cost=cost, replayed=True)
    task = known.task
    try:
        if not wait:
            polled: Task = yield CallClient("retrieve", task)
            task = polled.model_copy(update={"request": task.request})  # a poll does not say what was asked for
            if not task.done:
                return _submitted(task)
        result: ImageResult = yield CallClient("wait", task, context.wait_options(), ProgressReporter(call))
    except NotFoundError as error:
        if not known.images:
            raise
        raise ResultExpiredError(
            f"The picture of task {task_id} was made before. Its file is gone, and the gateway has it no longer."
        ) from error
    request = task.request
    stored: tuple[StoredImage, ...] = yield RunBlocking(
        lambda: store_images(context, result.images, request, result.model, result.cost)
    )
    otherwise = Decimal(0) if known.is_counted else result.cost
    cost = yield RunBlocking(lambda: _cost_to_report(context, task_id, otherwise))
    return ToolResult(stored, model=result.model, tasks=(task_id,), cost=cost, replayed=known.is_counted)


def _key(context: ToolContext, opened: PurchaseKey) -> Flow[str]:
    """The key under which to buy."""
    text, former = opened.text, opened.former
    if not former:
        return text
    key: str = yield RunBlocking(lambda: key_in_use(context, text, former))
    return key


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


def _look_up(context: ToolContext, call: Call, task_id: str) -> _Known:
    """What the ledger and the store know of a task. Blocks.

    Raises:
        NotFoundError: it belongs to another namespace.
    """
    context.attachments.see(call)
    rows = list(context.ledger.get().rows(Where(task_id=task_id)))
    own = [row for row in rows if row.key.startswith(context.keys.prefix)]
    images = context.store.images_of(task_id)
    if not own and not images and not _may_collect(context, task_id, rows):
        raise NotFoundError(f"There is no task {task_id} here.", advice="Give a task id as submit_image named it.")
    purchases = [purchase_from(row) for row in own or rows]
    task = next((purchase.task for purchase in purchases if purchase.task is not None), None)
    return _Known(
        task or Task(id=task_id, model=context.model),
        images,
        is_complete=bool(images) and all(context.store.has_file(image) for image in images),
        is_counted=bool(images) or any(purchase.state == "saved" for purchase in purchases),
    )


def _may_collect(context: ToolContext, task_id: str, rows: Sequence[Row]) -> bool:
    """Whether a toolkit may collect a task that is not in the ledger as its own, and has no picture in its store.

    A namespace collects what is provably its own. Without one, a task that nobody owns may have come from elsewhere.
    """
    namespace = context.keys.namespace
    owner = context.store.owner_of(task_id)
    if owner is not None:
        return bool(namespace) and owner == digest_of(namespace)
    return not namespace and not any(row.key.startswith(PREFIX) for row in rows)


def _cost_to_report(context: ToolContext, task_id: str, otherwise: Decimal | None) -> Decimal | None:
    return cost_to_report(context.ledger.get(), Where(task_id=task_id), otherwise)


def _record_saved(context: ToolContext, key: str, result: ImageResult) -> None:
    """Tell the ledger where the pictures of a submit without a task are: it can't find out by a poll. Blocks."""
    step = Delivered(key=key, images=images_json(result.images), saved=True)
    context.ledger.get().take(step).result()


def _submitted(task: Task, *, replayed: bool = False) -> ToolResult:
    return ToolResult(model=task.model, tasks=(task.id,), unfinished=task, replayed=replayed)
