"""The flows behind the client's methods: the order of steps, with no I/O and no clock.

generate  ─┬─ one image × n, side by side ─┬─ buy: submit, or one shot
           │                               ├─ poll, if the reply was a task
           │                               └─ save, if the caller named a place
submit    ─── buy
wait      ─┬─ poll
           └─ save
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from .._references.checked import CheckedReference, check_references
from .._storage.target import Target
from .._wire.errors import error_from
from .._wire.messages import Empty, Unreadable, generation_call, models_call, read_accepted, read_models
from ..catalog import DEFAULT_RESOLUTION, spec_for
from ..errors import APIMasterError, DownloadError, NoImageError, NotFoundError, OutcomeUnknownError
from ..request import ImageRequest, Mode
from ..results import GeneratedImage, ImageResult, OnProgress, Progress, Stage, Task
from .combine import Delivery, combine
from .context import Context
from .download import GRACE, Destination, save
from .operations import Flow, Gather, Instant, Notify, Now, Reply, RunBlocking, Sleep
from .poll import describe_state, outcome_of, poll_once, poll_until_done
from .send import ask, buy, describe_fault, with_hint

SUBMIT_TIMEOUT: Final = 120.0
"""Seconds for a submit. The gateway answers at once, but the upload of ten megabytes of references takes time."""

IMAGES_AT_ONCE: Final = 8
"""Images of one call that are under way at once."""

# The gateway gives up on a one-shot call after so many seconds (docs/endpoint.md, "Time"); the client waits a little
# longer, so that it gets that answer. The whole call gets more: a task may queue, and a poll is free.
_ONE_SHOT_LIMIT: Final = {"0.5K": 180.0, "1K": 180.0, "2K": 300.0, "4K": 900.0}
_ONE_SHOT_MARGIN: Final = 30.0
_DEFAULT_TIMEOUT: Final = {"0.5K": 300.0, "1K": 300.0, "2K": 600.0, "4K": 1200.0}
_LARGEST_RESOLUTION: Final = "4K"

_log = logging.getLogger("apimaster")


@dataclass(frozen=True, slots=True)
class CallOptions:
    """The options of a call: its timeout, the place for its pictures, and the function to call with its progress.

    ``timeout`` is seconds for the whole call; None: by resolution.
    """

    timeout: float | None = None
    target: Target | None = None
    on_progress: OnProgress | None = None


@dataclass(frozen=True, slots=True)
class _ImageRun:
    """One image of a call: its place in the call, its deadline, and the options of the caller."""

    options: CallOptions
    begun: Instant
    deadline: float
    index: int = 0
    total: int = 1
    references: Sequence[CheckedReference] = field(default=())

    def report(self, stage: Stage, task: Task | None = None, image: GeneratedImage | None = None) -> Flow[None]:
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

    def report_task(self, task: Task) -> Flow[None]:
        if task.status != "succeeded":
            yield from self.report(task.status, task)


def generate(context: Context, request: ImageRequest, mode: Mode, options: CallOptions) -> Flow[ImageResult]:
    """``n`` images side by side, each with a task and a charge of its own."""
    run = yield from _begin_purchase(request, options)
    if request.n == 1:
        outcomes: list[Delivery | APIMasterError] = [(yield from _one_image(context, request, mode, run))]
    else:
        runs = [replace(run, index=index) for index in range(request.n)]
        single = request.model_copy(update={"n": 1})
        flows = [_one_image(context, single, mode, each) for each in runs]
        outcomes = yield Gather(flows, limit=IMAGES_AT_ONCE)
    return combine(outcomes, request=request, model=request.model, price=request.spec.price(request.resolution))


def submit(context: Context, request: ImageRequest, options: CallOptions) -> Flow[Task]:
    """Submit one image and return its task at once.

    Some channels answer with the finished picture instead. Then the task has succeeded already, and its id is empty,
    since there is nothing to poll.
    """
    run = yield from _begin_purchase(request, options)
    yield from run.report("submitting")
    accepted = yield from _submit(context, request, run)
    if isinstance(accepted, Task):
        yield from run.report_task(accepted)
        return accepted
    return Task(id="", model=request.model, status="succeeded", images=accepted, request=request)


def retrieve(context: Context, task: Task, timeout: float) -> Flow[Task]:
    """Poll a task once, and retry that after passing faults until there is an answer."""
    if task.done and not task.id:
        return task  # the gateway answered the submit with the picture: there is no task to poll
    begun: Instant = yield Now()
    attempt = 0
    while True:
        attempt += 1
        try:
            polled = yield from poll_once(context, task)
        except APIMasterError as error:
            _log.debug("task %s: poll failed with %s", task.id, describe_fault(error))
            pause = context.policy.pause(attempt, error)
            now: Instant = yield Now()
            if pause is None or now.monotonic + pause >= begun.monotonic + timeout:
                raise
        else:
            now = yield Now()
            seconds = now.monotonic - begun.monotonic
            _log.debug("task %s: %s, %.2f s after the first poll", task.id, describe_state(polled), seconds)
            return polled
        _log.debug("task %s: retry in %.2f s", task.id, pause)
        yield Sleep(pause)


def wait(context: Context, task: Task, options: CallOptions) -> Flow[ImageResult]:
    """Wait for a task that was submitted earlier, in this process or another one."""
    _log.debug("task %s: joined, to be collected", task.id)
    run = yield from _begin(task.request, options)
    delivery = yield from _collect(context, task, run, begun=None)
    request, spec = task.request, spec_for(task.model)
    if request is not None:
        price = spec.price(request.resolution)
    else:
        # If only the task's id is known, only the pixels of a saved picture show which resolution was paid for.
        resolution = spec.resolution_of(delivery.images[0].width, delivery.images[0].height)
        price = spec.price(resolution) if resolution else None
    return combine([delivery], request=request, model=task.model, price=price)


def models(context: Context, timeout: float) -> Flow[list[str]]:
    """The model ids that the gateway lists."""
    now: Instant = yield Now()
    reply = yield from ask(context, models_call(), deadline=now.monotonic + timeout)
    try:
        return read_models(reply)
    except Unreadable as error:
        raise with_hint(
            NotFoundError(f"{context.base_url} does not answer like the gateway: {error}."), context.base_url
        ) from None


def _begin(request: ImageRequest | None, options: CallOptions) -> Flow[_ImageRun]:
    """Start the clock, and check the place for the pictures before any money is spent."""
    begun: Instant = yield Now()
    timeout = options.timeout
    if timeout is None:
        timeout = _DEFAULT_TIMEOUT[(request.resolution or DEFAULT_RESOLUTION) if request else _LARGEST_RESOLUTION]
    if options.target is not None:
        yield RunBlocking(options.target.check)
    return _ImageRun(options, begun, begun.monotonic + timeout, total=request.n if request else 1)


def _begin_purchase(request: ImageRequest, options: CallOptions) -> Flow[_ImageRun]:
    """The same for a purchase; it also reads and checks the references, once for all images."""
    run = yield from _begin(request, options)
    if not request.references:
        return run
    spec = request.spec
    references: Sequence[CheckedReference] = yield RunBlocking(
        lambda: check_references(
            request.references, max_count=spec.max_references, max_bytes=spec.max_reference_bytes, model=spec.id
        )
    )
    return replace(run, references=references)


def _one_image(context: Context, request: ImageRequest, mode: Mode, run: _ImageRun) -> Flow[Delivery]:
    yield from run.report("submitting")
    accepted = yield from _buy(context, request, mode, run)
    if not isinstance(accepted, Task):
        return (yield from _deliver(context, accepted, None, request, run))
    now: Instant = yield Now()
    return (yield from _collect(context, accepted, run, begun=now.monotonic))


def _buy(
    context: Context, request: ImageRequest, mode: Mode, run: _ImageRun
) -> Flow[Task | tuple[GeneratedImage, ...]]:
    if mode != "sync":
        try:
            return (yield from _submit(context, request, run))
        except NotFoundError:
            # An older gateway has no async route. If the base URL is wrong, the one-shot route answers 404 too.
            if mode == "async":
                raise
    timeout = _ONE_SHOT_LIMIT[request.resolution or DEFAULT_RESOLUTION] + _ONE_SHOT_MARGIN
    call = generation_call(request, run.references, submit=False)
    reply = yield from buy(context, call, deadline=run.deadline, timeout=timeout, long=True)
    return (yield from _accepted(context, reply, request))


def _submit(context: Context, request: ImageRequest, run: _ImageRun) -> Flow[Task | tuple[GeneratedImage, ...]]:
    call = generation_call(request, run.references, submit=True)
    reply = yield from buy(context, call, deadline=run.deadline, timeout=SUBMIT_TIMEOUT, long=bool(run.references))
    return (yield from _accepted(context, reply, request))


def _accepted(context: Context, reply: Reply, request: ImageRequest) -> Flow[Task | tuple[GeneratedImage, ...]]:
    """The task or the pictures in a success reply to a purchase. If it is unreadable, the outcome is unknown."""
    try:
        accepted = read_accepted(reply, request)
    except Empty as cause:
        raise NoImageError(
            f"The gateway reported success without a picture: {cause}.", status_code=reply.status
        ) from None
    except Unreadable as cause:
        now: Instant = yield Now()
        error = error_from(reply, paid=True, wall=now.wall)
        if isinstance(error, OutcomeUnknownError):
            error = OutcomeUnknownError(f"The reply can't be read: {cause}.", status_code=reply.status)
        raise error from None
    if isinstance(accepted, Task):
        _log.debug("task %s: submitted", accepted.id)
    return accepted


def _collect(context: Context, task: Task, run: _ImageRun, *, begun: float | None) -> Flow[Delivery]:
    """Poll a task until it has succeeded, and deliver its pictures."""
    yield from run.report_task(task)
    if task.done:
        outcome_of(task)
    else:
        task = yield from poll_until_done(context, task, begun=begun, deadline=run.deadline, report=run.report_task)
    return (yield from _deliver(context, task.images, task, task.request, run))


def _deliver(
    context: Context,
    images: tuple[GeneratedImage, ...],
    task: Task | None,
    request: ImageRequest | None,
    run: _ImageRun,
) -> Flow[Delivery]:
    """Save the pictures if the caller named a place for them."""
    target = run.options.target
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
    yield from run.report("done", task, saved[0])
    return Delivery(tuple(saved), task)
