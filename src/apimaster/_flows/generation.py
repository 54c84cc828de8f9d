"""The flows behind the client's methods: what happens in which order, with no I/O and no clock of its own.

generate  ─┬─ one image × n, side by side ─┬─ place the order: submit, or one shot
           │                               ├─ poll, where the answer was a task
           │                               └─ save, where the caller named a place
submit    ─── place the order
wait      ─┬─ poll
           └─ save
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from .._references.checked import CheckedReference, check_references
from .._storage.target import Target
from .._wire.errors import error_from
from .._wire.messages import Empty, Unreadable, generation_call, models_call, read_accepted, read_models
from ..catalog import spec_for
from ..errors import APIMasterError, DownloadError, NoImageError, NotFoundError, OutcomeUnknownError
from ..request import ImageRequest
from ..results import GeneratedImage, ImageResult, Progress, Stage, Task
from .combine import Delivery, combine
from .context import Context
from .download import GRACE, Destination, save
from .operations import Flow, Gather, Instant, Notify, Now, Reply, RunBlocking, Sleep
from .poll import ended, look, poll
from .send import ask, buy, with_hint

Mode = Literal["auto", "sync", "async"]
OnProgress = Callable[[Progress], Awaitable[object] | object]

SUBMIT_TIMEOUT: Final = 120.0
"""Seconds for a submit: it answers at once, but ten megabytes of references take their time to go up."""

SIDE_BY_SIDE: Final = 8
"""Images of one call that are under way at once."""

# The gateway gives up on a one-shot call after so many seconds (G); this side waits a little longer, so that it
# hears of it. The whole call gets more than that: a job may queue, and looking is free.
_GATEWAY_PATIENCE: Final = {"0.5K": 180.0, "1K": 180.0, "2K": 300.0, "4K": 900.0}
_LONGER: Final = 30.0
_DEFAULT_TIMEOUT: Final = {"0.5K": 300.0, "1K": 300.0, "2K": 600.0, "4K": 1200.0}
_BASE_TIER: Final = "1K"
_LARGEST_TIER: Final = "4K"


@dataclass(frozen=True, slots=True)
class CallOptions:
    """Until when, where to, and whom to tell. ``timeout`` is seconds for the whole call; None: by resolution."""

    timeout: float | None = None
    target: Target | None = None
    on_progress: OnProgress | None = None


@dataclass(frozen=True, slots=True)
class _ImageJob:
    """One image on its way."""

    options: CallOptions
    begun: Instant
    deadline: float
    index: int = 0
    total: int = 1
    references: Sequence[CheckedReference] = field(default=())

    def tell(self, stage: Stage, task: Task | None = None, image: GeneratedImage | None = None) -> Flow[None]:
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
        )
        yield Notify(self.options.on_progress, progress)

    def tell_task(self, task: Task) -> Flow[None]:
        if task.status != "succeeded":
            yield from self.tell(task.status, task)


def generate(context: Context, request: ImageRequest, mode: Mode, options: CallOptions) -> Flow[ImageResult]:
    """``n`` images as ``n`` jobs side by side, each with a task and a charge of its own."""
    job = yield from _begin_order(request, options)
    if request.n == 1:
        outcomes: list[Delivery | APIMasterError] = [(yield from _one_image(context, request, mode, job))]
    else:
        jobs = [replace(job, index=index) for index in range(request.n)]
        single = request.model_copy(update={"n": 1})
        flows = [_one_image(context, single, mode, each) for each in jobs]
        outcomes = yield Gather(flows, limit=SIDE_BY_SIDE)
    return combine(outcomes, request=request, model=request.model, price=request.spec.price(request.resolution))


def submit(context: Context, request: ImageRequest, options: CallOptions) -> Flow[Task]:
    """Hand in one job and come back at once.

    Where the gateway answers with the finished picture instead (G), the task has succeeded already and its id is
    empty: there is nothing left to look at.
    """
    job = yield from _begin_order(request, options)
    yield from job.tell("submitting")
    accepted = yield from _submit(context, request, job)
    if isinstance(accepted, Task):
        yield from job.tell_task(accepted)
        return accepted
    return Task(id="", model=request.model, status="succeeded", images=accepted, request=request)


def retrieve(context: Context, task: Task, timeout: float) -> Flow[Task]:
    """One answered look at a task: passing faults are repeated until there is one."""
    if task.done and not task.id:
        return task  # a submit that was answered with the picture: there is no task to ask about
    now: Instant = yield Now()
    deadline = now.monotonic + timeout
    attempt = 0
    while True:
        attempt += 1
        try:
            return (yield from look(context, task))
        except APIMasterError as error:
            pause = context.policy.pause(attempt, error)
            now = yield Now()
            if pause is None or now.monotonic + pause >= deadline:
                raise
        yield Sleep(pause)


def wait(context: Context, task: Task, options: CallOptions) -> Flow[ImageResult]:
    """Wait for a task that somebody submitted, in this process or another one."""
    job = yield from _begin(task.request, options)
    delivery = yield from _collect(context, task, job, begun=None)
    request, spec = task.request, spec_for(task.model)
    # Of a task by its id alone, only the picture can tell what was paid for: its pixels, if it was fetched.
    tier = (
        request.resolution or _BASE_TIER
        if request is not None
        else spec.resolution_of(delivery.images[0].width, delivery.images[0].height)
    )
    price = spec.price(tier) if tier else None
    return combine([delivery], request=request, model=task.model, price=price)


def models(context: Context, timeout: float) -> Flow[list[str]]:
    """The ids of the catalogue."""
    now: Instant = yield Now()
    reply = yield from ask(context, models_call(), deadline=now.monotonic + timeout)
    try:
        return read_models(reply)
    except Unreadable as cause:
        raise with_hint(
            NotFoundError(f"{context.base_url} does not answer like the gateway: {cause}."), context.base_url
        ) from None


def _begin(request: ImageRequest | None, options: CallOptions) -> Flow[_ImageJob]:
    """Start the clock, and check the place for the pictures before any money is spent."""
    begun: Instant = yield Now()
    timeout = options.timeout
    if timeout is None:
        timeout = _DEFAULT_TIMEOUT[(request.resolution or _BASE_TIER) if request else _LARGEST_TIER]
    if options.target is not None:
        yield RunBlocking(options.target.check)
    return _ImageJob(options, begun, begun.monotonic + timeout, total=request.n if request else 1)


def _begin_order(request: ImageRequest, options: CallOptions) -> Flow[_ImageJob]:
    """The same for a new order: its references are read and checked once, for all its images."""
    job = yield from _begin(request, options)
    if not request.references:
        return job
    spec = request.spec
    references: Sequence[CheckedReference] = yield RunBlocking(
        lambda: check_references(
            request.references, max_count=spec.max_references, max_bytes=spec.max_reference_bytes, model=spec.id
        )
    )
    return replace(job, references=references)


def _one_image(context: Context, request: ImageRequest, mode: Mode, job: _ImageJob) -> Flow[Delivery]:
    yield from job.tell("submitting")
    accepted = yield from _place_order(context, request, mode, job)
    if not isinstance(accepted, Task):
        return (yield from _deliver(context, accepted, None, request, job))
    now: Instant = yield Now()
    return (yield from _collect(context, accepted, job, begun=now.monotonic))


def _place_order(
    context: Context, request: ImageRequest, mode: Mode, job: _ImageJob
) -> Flow[Task | tuple[GeneratedImage, ...]]:
    if mode != "sync":
        try:
            return (yield from _submit(context, request, job))
        except NotFoundError:
            # An older gateway has no async route. If the base URL is wrong instead, the one-shot route says so.
            if mode == "async":
                raise
    patience = _GATEWAY_PATIENCE[request.resolution or _BASE_TIER] + _LONGER
    call = generation_call(request, job.references, submit=False)
    reply = yield from buy(context, call, deadline=job.deadline, timeout=patience, long=True)
    return (yield from _accepted(context, reply, request))


def _submit(context: Context, request: ImageRequest, job: _ImageJob) -> Flow[Task | tuple[GeneratedImage, ...]]:
    call = generation_call(request, job.references, submit=True)
    reply = yield from buy(context, call, deadline=job.deadline, timeout=SUBMIT_TIMEOUT, long=bool(job.references))
    return (yield from _accepted(context, reply, request))


def _accepted(context: Context, reply: Reply, request: ImageRequest) -> Flow[Task | tuple[GeneratedImage, ...]]:
    """What a success reply to a purchase holds; one that can't be read leaves the outcome unknown."""
    try:
        return read_accepted(reply, request)
    except Empty as cause:
        raise NoImageError(
            f"The gateway reported success without a picture: {cause}.", status_code=reply.status
        ) from None
    except Unreadable as cause:
        now: Instant = yield Now()
        error = error_from(reply, paid=True, wall=now.wall)
        if isinstance(error, OutcomeUnknownError):
            error = OutcomeUnknownError(f"The answer can't be read: {cause}.", status_code=reply.status)
        raise error from None


def _collect(context: Context, task: Task, job: _ImageJob, *, begun: float | None) -> Flow[Delivery]:
    """From a task to its pictures."""
    yield from job.tell_task(task)
    if task.done:
        ended(task)
    else:
        task = yield from poll(context, task, begun=begun, deadline=job.deadline, report=job.tell_task)
    return (yield from _deliver(context, task.images, task, task.request, job))


def _deliver(
    context: Context,
    images: tuple[GeneratedImage, ...],
    task: Task | None,
    request: ImageRequest | None,
    job: _ImageJob,
) -> Flow[Delivery]:
    """Save the pictures where the caller named a place for them."""
    target = job.options.target
    if target is None:
        yield from job.tell("done", task, images[0])
        return Delivery(images, task)
    saved: list[GeneratedImage] = []
    total = max(job.total, len(images))
    for offset, image in enumerate(images):
        yield from job.tell("downloading", task, image)
        stem = f"{task.id}-{image.output_index}" if task and task.id else f"image-{job.begun.wall:.0f}-{job.index}"
        place = Destination(target, stem, job.index + offset, total)
        try:
            saved.append((yield from save(context, image, place, request=request, deadline=job.deadline + GRACE)))
        except DownloadError as error:
            error.images = (*saved, *images[offset:])
            error.task, error.tasks = task, (task,) if task else ()
            raise
    yield from job.tell("done", task, saved[0])
    return Delivery(tuple(saved), task)
