"""Send one call to the gateway, with as many retries as the rules allow.

Three flows, for the three kinds of call: ``buy`` for the one that costs money, ``ask`` for what is free and may be sent
again, and ``act`` for what is free and must not be made twice. If the connection breaks, nobody knows whether a
purchase or an act went through, so ``buy`` and ``act`` stop there, while ``ask`` retries.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from .._wire.errors import NO_SUCH_MODEL, error_from
from .._wire.routing import describe_routing
from ..errors import APIConnectionError, APIMasterError, NotFoundError, OutcomeUnknownError, RateLimitError, sentence
from ..settings import hint_for_404
from .context import Context
from .operations import Broken, Call, Flow, Instant, NotSent, Now, Refused, Reply, Send
from .purchase import NO_RECORD, Record

ASK_TIMEOUT: Final = 30.0
"""Seconds for one free call: a poll, or the list of models, is answered at once or not at all."""

_log = logging.getLogger("apimaster")


def buy(
    context: Context,
    call: Call,
    *,
    deadline: float,
    record: Record,
    one_shot: bool,
    timeout: float | None = None,
    long: bool = False,
    resubmit_502: bool = True,
) -> Flow[Reply]:
    """Send a call that buys an image. ``deadline`` is monotonic; ``timeout`` limits one attempt, in seconds.

    ``record`` is told when the request goes out, and as soon as it is known that it has cost nothing: a call that is
    stopped at any other moment has bought nothing. It also pauses before each further attempt, which is not made if
    that raises. ``one_shot`` is for that, and ``resubmit_502`` is the model's rule.

    Raises:
        TakenOver: as ``Record.pause``.
        OutcomeUnknownError: it went out and no reply came back. The client does not send it again.
        APIMasterError: as the reply says, after the retries that are safe (docs/endpoint.md, "Errors").
    """
    return (
        yield from _exchange(
            context,
            call,
            deadline,
            timeout,
            paid=True,
            long=long,
            record=record,
            one_shot=one_shot,
            resubmit_502=resubmit_502,
        )
    )


def ask(
    context: Context,
    call: Call,
    *,
    deadline: float,
    timeout: float = ASK_TIMEOUT,
    retry_rate_limit: bool = True,
    long: bool = False,
) -> Flow[Reply]:
    """Send a call that is free and may be retried after any passing fault.

    ``retry_rate_limit=False`` is for a route whose limit is so low that retries would use it up: a 429 ends the call.
    ``long`` marks a call with a large body, as for ``Send``.
    """
    return (
        yield from _exchange(context, call, deadline, timeout, paid=False, long=long, retry_rate_limit=retry_rate_limit)
    )


def act(context: Context, call: Call, *, deadline: float, timeout: float = ASK_TIMEOUT) -> Flow[Reply]:
    """Send a call that is free and must not be made twice, such as one that makes something new.

    It is retried only if nothing left this machine. ``deadline`` is monotonic, ``timeout`` in seconds.

    Raises:
        OutcomeUnknownError: it went out, and no answer of the gateway came back. The caller knows what that means for
            its call; nothing was charged.
        APIMasterError: as the reply says.
    """
    return (yield from _exchange(context, call, deadline, timeout, paid=False, long=False, once=True))


def _exchange(
    context: Context,
    call: Call,
    deadline: float,
    timeout: float | None,
    *,
    paid: bool,
    long: bool,
    retry_rate_limit: bool = True,
    once: bool = False,
    record: Record = NO_RECORD,
    one_shot: bool = False,
    resubmit_502: bool = True,
) -> Flow[Reply]:
    policy = context.purchases if paid and context.purchases is not None else context.policy
    attempt = 0
    last: APIMasterError | None = None
    while True:
        now: Instant = yield Now()
        remaining = deadline - now.monotonic
        if remaining <= 0:
            raise last or APIConnectionError(
                "The time ran out before anything was sent.", advice="Try again with a longer timeout."
            )
        attempt += 1
        _log.debug("%s %s: attempt %d", call.method, call.path, attempt)
        started = now.monotonic
        record.goes_out()
        try:
            reply: Reply = yield Send(
                call, remaining if timeout is None else min(timeout, remaining), long, context.headers
            )
        except NotSent as error:
            record.cost_nothing()
            yield from _log_end(call, "not sent", started)
            last = not_reached(f"Could not reach {context.base_url}: {error}. Nothing was sent.", error)
        except (Broken, Refused) as error:  # a reply of a gigabyte counts as none
            yield from _log_end(call, "no reply", started)
            last = _broken(error, paid=paid or once)
        else:
            success = 200 <= reply.status < 300
            if paid and not success:
                refusal = error_from(reply, paid=True, wall=now.wall, resubmit_502=resubmit_502)
                if refusal.billed == "no":
                    record.cost_nothing()  # before the flow can be stopped again
            yield from _log_end(call, f"HTTP {reply.status}", started)
            log_routing(call, reply)
            if success:
                return reply
            now = yield Now()
            answer = error_from(reply, paid=paid or once, wall=now.wall, resubmit_502=resubmit_502)
            last = with_hint(answer, context.base_url)
        final = isinstance(last, RateLimitError) and not retry_rate_limit
        final = final or (once and not isinstance(last, APIConnectionError))
        pause = None if final else policy.pause(attempt, last)
        now = yield Now()
        if pause is None or now.monotonic + pause >= deadline:
            _log.debug("%s %s: no retry after %s", call.method, call.path, describe_fault(last))
            raise last
        _log.debug("%s %s: retry in %.2f s after %s", call.method, call.path, pause, describe_fault(last))
        yield from record.pause(pause, one_shot=one_shot)


def _log_end(call: Call, end: str, started: float) -> Flow[None]:
    if _log.isEnabledFor(logging.DEBUG):
        now: Instant = yield Now()
        _log.debug("%s %s: %s after %.2f s", call.method, call.path, end, now.monotonic - started)


def log_routing(call: Call, reply: Reply) -> None:
    """Note which detours the gateway took for a request, if it says so."""
    if _log.isEnabledFor(logging.DEBUG) and (routing := describe_routing(reply)):
        _log.debug("%s %s: %s", call.method, call.path, routing)


def not_reached(message: str, cause: NotSent, **details: Any) -> APIConnectionError:
    """The error for a call that was not sent. A setting of this machine does not pass, so a retry can't help then."""
    if cause.advice:
        details |= {"advice": cause.advice, "retryable": False}
    return APIConnectionError(message, **details)


def _broken(error: Exception, *, paid: bool) -> APIMasterError:
    if paid:
        return OutcomeUnknownError(sentence(f"The request went out, and no reply came back: {error}"))
    return APIConnectionError(sentence(f"The connection broke: {error}"))


def describe_fault(error: APIMasterError) -> str:
    """The facts of an error for a log: its text is not among them, since the gateway may quote a prompt in it."""
    facts = [type(error).__name__]
    if error.status_code is not None:
        facts.append(f"HTTP {error.status_code}")
    if error.request_id is not None:
        facts.append(f"request {error.request_id}")
    return ", ".join(facts)


def with_hint(error: APIMasterError, base_url: str) -> APIMasterError:
    """If ``error`` is a 404, advise on the base URL: most often, its ``/v1`` is missing."""
    if isinstance(error, NotFoundError) and error.code != NO_SUCH_MODEL:
        error.advice = hint_for_404(base_url) or error.advice
    return error
