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
from dataclasses import replace
from typing import Final, TypeVar

from .._wire.messages import Unreadable, models_call, read_models
from ..catalog import spec_for
from ..errors import APIMasterError, NotFoundError
from ..request import ImageRequest, Mode
from ..results import ImageResult, Task
from .buying import Accepted, buy_image
from .collect import collect, collect_known, deliver
from .combine import Delivery, combine
from .context import Context
from .image_run import CallOptions, ImageRun
from .left_behind import settle_left_behind
from .operations import Flow, Gather, Instant, Now, Sleep
from .poll import describe_state, poll_once
from .preparation import begin_call, prepare
from .purchase import Known, Record, TakenOver
from .send import ask, describe_fault, with_hint
from .task_record import record_of_task

T = TypeVar("T")

IMAGES_AT_ONCE: Final = 8
"""Images of one call that are under way at once."""

_log = logging.getLogger("apimaster")


def generate(context: Context, request: ImageRequest, mode: Mode, options: CallOptions) -> Flow[ImageResult]:
    """``n`` images side by side, each with a task and a charge of its own."""
    runs = yield from prepare(context, request, options)
    if request.n == 1:
        outcomes: list[Delivery | APIMasterError] = [(yield from _one_image(context, request, mode, runs[0]))]
    else:
        single = request.model_copy(update={"n": 1})
        flows = [_one_image(context, single, mode, each) for each in runs]
        try:
            outcomes = yield Gather(flows, limit=IMAGES_AT_ONCE)
        except BaseException:
            for each in runs:  # some may not have begun, and are claimed
                each.record.abandon()
            raise
    first = next((outcome.request for outcome in outcomes if isinstance(outcome, Delivery)), None)
    if first is not None:  # another call has bought it, maybe from another model
        request = first.model_copy(update={"n": request.n})
    spec = request.spec
    price = spec.price(request.resolution)
    return combine(outcomes, request=request, model=request.model, price=price, price_list=spec.price_list)


def submit(context: Context, request: ImageRequest, options: CallOptions) -> Flow[Task]:
    """Submit one image and return its task at once.

    Some channels answer with the finished picture instead. Then the task has succeeded already, and its id is empty,
    since there is nothing to poll.
    """
    (run,) = yield from prepare(context, request, options)

    def work() -> Flow[Task]:
        yield from run.report("submitting")
        accepted = yield from _obtain(context, request, "async", run)
        if isinstance(accepted, Known):
            task = accepted.task or Task(id="", model=accepted.request.model, request=request)
            made = {"status": "succeeded", "images": accepted.images}
            return task.model_copy(update=made) if accepted.images else task
        if isinstance(accepted, Task):
            yield from run.record.submitted(accepted, keep=False)
            yield from run.report_task(accepted)
            return accepted
        yield from run.record.delivered(accepted.images)
        return Task(id="", model=accepted.model, status="succeeded", images=accepted.images, request=request)

    return (yield from _recorded(run.record, work()))


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
    run = yield from begin_call(task.request, options)
    if context.ledger is not None and task.id:
        run = replace(run, record=(yield from record_of_task(context.ledger, task)))
    delivery = yield from _recorded(run.record, collect(context, task, run, begun=None))
    request, spec = task.request, spec_for(task.model)
    if request is not None:
        price = spec.price(request.resolution)
    else:
        # If only the task's id is known, only the pixels of a saved picture show which resolution was paid for.
        resolution = spec.resolution_of(delivery.images[0].width, delivery.images[0].height)
        price = spec.price(resolution) if resolution else None
    return combine([delivery], request=request, model=task.model, price=price, price_list=spec.price_list)


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


def _one_image(context: Context, request: ImageRequest, mode: Mode, run: ImageRun) -> Flow[Delivery]:
    return (yield from _recorded(run.record, _buy_and_collect(context, request, mode, run)))


def _buy_and_collect(context: Context, request: ImageRequest, mode: Mode, run: ImageRun) -> Flow[Delivery]:
    yield from run.report("submitting")
    accepted = yield from _obtain(context, request, mode, run)
    if isinstance(accepted, Known):
        return (yield from collect_known(context, accepted, run))
    if not isinstance(accepted, Task):
        delivery = yield from deliver(context, accepted.images, None, request, run)
        return replace(delivery, model=accepted.model)
    yield from run.record.submitted(accepted)
    now: Instant = yield Now()
    yield from settle_left_behind(context, run.deadline)
    return (yield from collect(context, accepted, run, begun=now.monotonic))


def _obtain(context: Context, request: ImageRequest, mode: Mode, run: ImageRun) -> Flow[Known | Accepted]:
    """What the ledger knows of the image, or else what the gateway answers to the request for it."""
    while True:
        known = yield from run.record.begin(run.deadline, one_shot=mode == "sync")
        if known is not None:
            return known
        try:
            return (yield from buy_image(context, request, mode, run))
        except TakenOver:
            _log.warning("A purchase was taken over while its call paused: it joins the other call.")


def _recorded(record: Record, flow: Flow[T]) -> Flow[T]:
    """Run ``flow``, and write into the ledger how it ended if it did not end well."""
    try:
        return (yield from flow)
    except APIMasterError as error:
        yield from record.failed(error)
        raise
    except BaseException:
        record.abandon()
        raise
