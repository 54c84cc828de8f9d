"""What a purchase does when the gateway does not offer a model's id, which costs nothing: it tries another spelling.

Several ids may stand for one model, and the gateway offers some of them. So the client asks for the gateway's list of
models, once for all calls of a minute, and repeats the purchase with a spelling of the same model that is listed there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from .._wire.errors import NO_SUCH_MODEL
from .._wire.messages import Unreadable, models_call, read_models
from ..catalog import spec_for, spellings
from ..errors import APIMasterError, NotFoundError
from .context import Context
from .operations import Flow, Instant, Now, Sleep
from .send import ASK_TIMEOUT, ask

_PAUSE: Final = 0.02  # seconds between two looks at a question that another call has asked


def says_no_such_model(error: APIMasterError) -> bool:
    """Whether the gateway does not offer the model's id."""
    return isinstance(error, NotFoundError) and error.code == NO_SUCH_MODEL


def other_spelling(context: Context, model: str, tried: Sequence[str], deadline: float) -> Flow[str | None]:
    """Another id of the same model that the gateway lists and that was not tried; None if there is none."""
    others = [each for each in spellings(model) if each not in tried]
    if not others:
        return None
    listed = yield from _listed(context, deadline)
    return next((each for each in others if each in listed), None)


def _listed(context: Context, deadline: float) -> Flow[Sequence[str]]:
    """The gateway's catalogue, asked for by one call of the client in a minute; empty if it can't be read."""
    known = context.spellings
    while True:
        now: Instant = yield Now()
        if known.may_ask(now.monotonic):
            break
        if not known.is_asked or now.monotonic >= deadline:
            return known.listed or ()
        yield Sleep(_PAUSE)
    listed: Sequence[str] | None = None
    asked_at: float | None = None
    try:
        until = min(deadline, now.monotonic + ASK_TIMEOUT)
        listed = read_models((yield from ask(context, models_call(), deadline=until)))
        asked_at = now.monotonic
    except (APIMasterError, Unreadable):
        asked_at = now.monotonic
    finally:  # also if the call is stopped: another one may ask then
        known.answered(listed, asked_at)
    return listed or ()


def not_offered(error: NotFoundError, model: str, tried: Sequence[str]) -> NotFoundError:
    """``error``, which says that the gateway does not offer a model, with what to use instead."""
    error.message = f"The gateway does not offer the model {' or '.join(tried)}: {error.message}"
    error.args = (error.message,)
    error.retryable = False
    spec = spec_for(model)
    instead = [each for each in spellings(model) if each not in tried]
    if spec.successor:
        instead.append(spec.successor)
    use = f"Use {' or '.join(instead)}, or another model" if instead else "Use another model"
    error.advice = f"{use}: `apimaster models` lists what the gateway offers."
    return error
