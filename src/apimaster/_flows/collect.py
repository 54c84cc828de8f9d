"""From a task, or from a reply with pictures, to what the caller gets: poll, save, and say so in the ledger."""

from __future__ import annotations

from dataclasses import replace

from .._storage.target import flush, is_there
from ..errors import DownloadError, NotFoundError, ResultExpiredError
from ..request import ImageRequest
from ..results import GeneratedImage, Task
from .combine import Delivery
from .context import Context
from .download import GRACE, Destination, save
from .image_run import ImageRun
from .operations import Flow, RunBlocking
from .poll import outcome_of, poll_until_done
from .purchase import Known


def collect(context: Context, task: Task, run: ImageRun, *, begun: float | None) -> Flow[Delivery]:
    """Poll a task until it has succeeded, and deliver its pictures."""
    if task.status == "failed" and task.id and begun is None:
        # Whoever brought it may have it from a webhook, and a failure allows a second purchase: a poll has to say so.
        task = task.model_copy(update={"status": "running", "error": None, "error_code": None})
    yield from run.report_task(task)
    if task.done:
        outcome_of(task)
    else:
        task = yield from poll_until_done(context, task, begun=begun, deadline=run.deadline, report=run.report_task)
    return (yield from deliver(context, task.images, task, task.request, run))


def deliver(
    context: Context,
    images: tuple[GeneratedImage, ...],
    task: Task | None,
    request: ImageRequest | None,
    run: ImageRun,
) -> Flow[Delivery]:
    """Save the pictures if the caller named a place for them."""
    target = run.options.target
    yield from run.record.delivered(images, keep=target is not None)
    if target is None:
        yield from run.report("done", task, images[0])
        return Delivery(images, task)
    saved: list[GeneratedImage] = []
    total = max(run.total, len(images))
    for offset, image in enumerate(images):
        yield from run.report("downloading", task, image)
        stem = f"{task.id}-{image.output_index}" if task and task.id else f"image-{run.begun.wall:.0f}-{run.index}"
        destination = Destination(target, stem, run.index + offset, total)
        try:
            saved.append((yield from save(context, image, destination, request=request, deadline=run.deadline + GRACE)))
        except DownloadError as error:
            error.images = (*saved, *images[offset:])
            error.task, error.tasks = task, (task,) if task else ()
            raise
    if context.flush_pictures:
        yield RunBlocking(lambda: flush(image.path for image in saved))
    yield from run.record.delivered(saved, saved=True)
    yield from run.report("done", task, saved[0])
    return Delivery(tuple(saved), task)


def collect_known(context: Context, known: Known, run: ImageRun) -> Flow[Delivery]:
    """An image that is paid for already: wait for its task, or fetch its pictures again. All of it is free."""
    if not known.images:
        assert known.task is not None  # what has neither is not paid for
        try:
            delivery = yield from collect(context, known.task, run, begun=None)
        except NotFoundError as error:
            raise _forgotten(known.task, error) from error
    else:
        delivery = yield from _deliver_again(context, known.images, known.task, known.request, run)
    return replace(
        delivery,
        request=known.request,
        replayed=True,
        cost=known.cost,
        counted=known.counted,
        charged=known.charged,
    )


def _forgotten(task: Task, error: NotFoundError) -> ResultExpiredError:
    """The ledger has the task, and the gateway does not."""
    return ResultExpiredError(
        f"The gateway does not know the task {task.id} any more, so its picture can't be fetched",
        advice="To buy the image again, use another key, or tell the ledger what became of it (`ledger resolve`).",
        status_code=error.status_code,
        code=error.code,
        request_id=error.request_id,
        task=task,
    )


def _deliver_again(
    context: Context, images: tuple[GeneratedImage, ...], task: Task | None, request: ImageRequest, run: ImageRun
) -> Flow[Delivery]:
    """Pictures that were delivered before: from where they are, else from the gateway."""
    target = run.options.target
    if task is not None:  # the ledger has it as it was when it was submitted
        task = task.model_copy(update={"status": "succeeded", "images": tuple(map(_as_polled, images))})
    present: list[GeneratedImage] = yield RunBlocking(lambda: [_without_lost_file(image) for image in images])
    if target is None:
        if lost := [image for image in present if image.path is None and image.url is None and image.task_id is None]:
            raise ResultExpiredError(
                "The picture came inside the gateway's reply, and was not saved then.", images=tuple(lost)
            )
    elif any(image.path is None or not target.holds(image.path) for image in present):
        bare = tuple(image.model_copy(update={"path": None}) for image in present)
        return (yield from deliver(context, bare, task, request, run))
    yield from run.report("done", task, present[0])
    return Delivery(tuple(present), task)


def _as_polled(image: GeneratedImage) -> GeneratedImage:
    """A picture as a poll tells it: without the place where it was saved."""
    saved = ("path", "media_type", "width", "height", "deviations")
    return GeneratedImage(**image.model_dump(exclude=set(saved)))


def _without_lost_file(image: GeneratedImage) -> GeneratedImage:
    if image.path is None or is_there(image.path):
        return image
    return image.model_copy(update={"path": None})
