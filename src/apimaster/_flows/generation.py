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
from functools import partial
from typing import Final, NamedTuple, TypeAlias, TypeVar

from .._wire.errors import error_from
from .._wire.messages import Empty, Unreadable, generation_call, models_call, read_accepted, read_models
from ..catalog import SUBMIT_TIMEOUT, one_shot_limit, spec_for
from ..errors import APIMasterError, BadRequestError, NoImageError, NotFoundError, OutcomeUnknownError
from ..request import ImageRequest, Mode
from ..results import GeneratedImage, ImageResult, Task
from .collect import collect, collect_known, deliver
from .combine import Delivery, combine
from .context import Context
from .image_run import CallOptions, ImageRun
from .left_behind import settle_left_behind
from .operations import Flow, Gather, Instant, Now, Reply, Sleep
from .other_spelling import not_offered, other_spelling, says_no_such_model
from .poll import describe_state, poll_once
from .preparation import begin_call, prepare
from .purchase import Known, Record, TakenOver
from .send import ask, buy, describe_fault, with_hint
from .task_events import NO_SUCH_WEBHOOK, note_submitted, with_webhook
from .task_record import record_of_task

T = TypeVar("T")


class Pictures(NamedTuple):
    """The pictures that the gateway answered a purchase with, and the model id that was sent."""

    images: tuple[GeneratedImage, ...]
    model: str


Accepted: TypeAlias = Task | Pictures
"""What the gateway answers to a purchase."""

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
            return (yield from _buy(context, request, mode, run))
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


def _buy(context: Context, request: ImageRequest, mode: Mode, run: ImageRun) -> Flow[Accepted]:
    """Buy the image under the spelling of the model's id that the gateway takes."""
    model = sent = context.spellings.to_send(request.model)
    tried: list[str] = []
    while True:
        tried.append(sent)
        spelled = request if sent == request.model else request.model_copy(update={"model": sent})
        try:
            accepted = yield from _buy_spelled(context, spelled, mode, run)
        except NotFoundError as error:
            if not says_no_such_model(error):
                raise
            run.record.cost_nothing()
            other = yield from other_spelling(context, model, tried, run.deadline)
            if other is None:
                raise not_offered(error, model, tried) from None
        else:
            context.spellings.choose(tried)
            return accepted
        _log.debug("the gateway does not offer the model %s: it lists %s", sent, other)
        sent = other
        yield from run.record.send_again(one_shot=mode == "sync")


def _buy_spelled(context: Context, request: ImageRequest, mode: Mode, run: ImageRun) -> Flow[Accepted]:
    if mode != "sync":
        try:
            return (yield from _submit(context, request, run))
        except NotFoundError as error:
            # An older gateway has no async route. If the base URL is wrong, the one-shot route answers 404 too.
            if mode == "async" or says_no_such_model(error):
                raise
        yield from run.record.send_again(one_shot=True)
    timeout = one_shot_limit(request.resolution)
    call = generation_call(request, run.references, submit=False)
    pause = partial(run.record.pause, one_shot=True)
    reply = yield from buy(
        context,
        call,
        deadline=run.deadline,
        pause=pause,
        timeout=timeout,
        long=True,
        resubmit_502=request.spec.resubmit_502,
    )
    return (yield from _accepted(context, reply, request, sent=request))


def _submit(context: Context, request: ImageRequest, run: ImageRun) -> Flow[Accepted]:
    sent = with_webhook(context.waiter, request)
    try:
        reply = yield from _send_submit(context, sent, run)
    except BadRequestError as error:
        if sent is request or error.code != NO_SUCH_WEBHOOK:
            raise
        # It cost nothing, and the caller did not ask for the webhook that the gateway refuses, but for a picture.
        _log.warning("The gateway refuses the waiter's webhook for %s, so the task is polled", request.model)
        yield from run.record.send_again(one_shot=False)
        sent = request
        reply = yield from _send_submit(context, sent, run)
    return (yield from _accepted(context, reply, request, sent=sent))


def _send_submit(context: Context, sent: ImageRequest, run: ImageRun) -> Flow[Reply]:
    call = generation_call(sent, run.references, submit=True)
    pause = partial(run.record.pause, one_shot=False)
    return (
        yield from buy(
            context,
            call,
            deadline=run.deadline,
            pause=pause,
            timeout=SUBMIT_TIMEOUT,
            long=bool(run.references),
            resubmit_502=sent.spec.resubmit_502,
        )
    )


def _accepted(context: Context, reply: Reply, request: ImageRequest, *, sent: ImageRequest) -> Flow[Accepted]:
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
        submitted: Instant = yield Now()
        note_submitted(context.waiter, accepted, sent, submitted.monotonic)
        return accepted
    return Pictures(accepted, request.model)
