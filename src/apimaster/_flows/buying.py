"""Buy one image: which request goes out, what may be sent once more, and what the gateway has answered.

Four refusals cost nothing, and are no reason to give up. Each leads to one more request:

================================  ==============================================================
the gateway refuses               then
================================  ==============================================================
the spelling of the model's id    another spelling of the same model that the gateway lists
pictures inside the request       the same request with uploads
the waiter's webhook              the same request without it; the task is polled
the async route (404)             a one-shot call, unless the caller wants the async route only
================================  ==============================================================

Before each, the ledger says that a request goes out again. A context without ``repeats`` allows none of them. ``send``
knows about retries after passing faults.
"""

from __future__ import annotations

import logging
from typing import NamedTuple, TypeAlias

from .._wire.errors import NO_SUCH_WEBHOOK, error_from
from .._wire.messages import Empty, Unreadable, generation_call, read_accepted
from ..catalog import SUBMIT_TIMEOUT, one_shot_limit
from ..errors import BadRequestError, NoImageError, NotFoundError, OutcomeUnknownError
from ..request import ImageRequest, Mode
from ..results import GeneratedImage, Task
from .context import Context
from .image_run import ImageRun
from .operations import Call, Flow, Instant, Now, Reply
from .other_spelling import not_offered, other_spelling, says_no_such_model
from .reference_form import SentReferences, change_form, choose_form
from .send import buy
from .task_events import note_submitted, with_webhook

_log = logging.getLogger("apimaster")


class Pictures(NamedTuple):
    """The pictures that the gateway answered a purchase with, and the model id that was sent."""

    images: tuple[GeneratedImage, ...]
    model: str


Accepted: TypeAlias = Task | Pictures
"""What the gateway answers to a purchase."""


def buy_image(context: Context, request: ImageRequest, mode: Mode, run: ImageRun) -> Flow[Accepted]:
    """Buy the image under the spelling of the model's id that the gateway takes.

    Raises:
        TakenOver: the purchase is another call's by now.
        APIMasterError: it was not bought, or nobody knows whether it was.
    """
    form = yield from choose_form(context, request, run, one_shot=mode == "sync")
    model = sent = context.spellings.to_send(request.model)
    tried: list[str] = []
    while True:
        tried.append(sent)
        spelled = request if sent == request.model else request.model_copy(update={"model": sent})
        try:
            accepted = yield from _buy_spelled(context, spelled, mode, run, form)
        except NotFoundError as error:
            if not context.repeats or not says_no_such_model(error):
                raise
            other = yield from other_spelling(context, model, tried, run.deadline)
            if other is None:
                raise not_offered(error, model, tried) from None
        else:
            context.spellings.choose(tried)
            return accepted
        _log.debug("the gateway does not offer the model %s: it lists %s", sent, other)
        sent = other
        yield from run.record.send_again(one_shot=mode == "sync")


def _buy_spelled(
    context: Context, request: ImageRequest, mode: Mode, run: ImageRun, form: SentReferences
) -> Flow[Accepted]:
    if mode != "sync":
        try:
            return (yield from _submit(context, request, run, form))
        except NotFoundError as error:
            # An older gateway has no async route. If the base URL is wrong, the one-shot route answers 404 too.
            if mode == "async" or not context.repeats or says_no_such_model(error):
                raise
        yield from run.record.send_again(one_shot=True)
    reply = yield from _request(context, request, run, form, submit=False)
    return (yield from _accepted(context, reply, request, sent=request))


def _submit(context: Context, request: ImageRequest, run: ImageRun, form: SentReferences) -> Flow[Accepted]:
    sent = with_webhook(context.waiter, request)
    try:
        reply = yield from _request(context, sent, run, form, submit=True)
    except BadRequestError as error:
        if sent is request or not context.repeats or error.code != NO_SUCH_WEBHOOK:
            raise
        # It cost nothing, and the caller did not ask for the webhook that the gateway refuses, but for a picture.
        _log.warning("The gateway refuses the waiter's webhook for %s, so the task is polled", request.model)
        yield from run.record.send_again(one_shot=False)
        sent = request
        reply = yield from _request(context, sent, run, form, submit=True)
    return (yield from _accepted(context, reply, request, sent=sent))


def _request(
    context: Context, request: ImageRequest, run: ImageRun, form: SentReferences, *, submit: bool
) -> Flow[Reply]:
    """Send the request for an image, and once more with uploads if it was refused with pictures inside it."""
    call = generation_call(request, form.sent, submit=submit)
    try:
        return (yield from _send(context, request, run, call, submit=submit))
    except BadRequestError as refused:
        if not context.repeats or refused.code == NO_SUCH_WEBHOOK:  # the form of the pictures is not the reason
            raise
        yield from change_form(context, form, refused, call, request.model, run)
    yield from run.record.send_again(one_shot=not submit)
    return (yield from _send(context, request, run, generation_call(request, form.sent, submit=submit), submit=submit))


def _send(context: Context, request: ImageRequest, run: ImageRun, call: Call, *, submit: bool) -> Flow[Reply]:
    return (
        yield from buy(
            context,
            call,
            deadline=run.deadline,
            record=run.record,
            one_shot=not submit,
            timeout=SUBMIT_TIMEOUT if submit else one_shot_limit(request.resolution),
            long=bool(run.references) or not submit,
            resubmit_502=request.spec.resubmit_502,
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
