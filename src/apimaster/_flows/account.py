"""Read the account's own books: what the key may spend, and its usage log.

Not every gateway keeps them: an older one answers with 404, with its web page, or with ``success: false``. That is one
error for the caller, whatever its form.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from .._wire.account import log_call, read_log, read_usage, usage_call
from .._wire.messages import Unreadable
from ..account import Account, Charge
from ..errors import NotFoundError, RateLimitError
from ..settings import hint_for_404
from .context import Context
from .operations import Call, Flow, Instant, Now, Reply
from .send import ask

T = TypeVar("T")

_USE_THE_CONSOLE: Final = "Look at the usage log in the console of the gateway."
_LOG_LIMIT: Final = "Try again in some minutes: the gateway allows about 20 reads of the log in 20 minutes."


def account(context: Context, timeout: float) -> Flow[Account]:
    """What the key may spend, and has spent. ``timeout`` is in seconds.

    Raises:
        NotFoundError: the gateway does not tell.
        APIMasterError: the gateway could not be asked. The call is free.
    """
    return (
        yield from _read(
            context, usage_call(), read_usage, timeout, "This gateway keeps no figures that this key can read"
        )
    )


def charges(context: Context, timeout: float) -> Flow[tuple[Charge, ...]]:
    """The newest rows of the key's usage log, newest first. ``timeout`` is in seconds.

    Raises:
        NotFoundError: the gateway keeps no log, or this key can't read it.
        RateLimitError: the gateway has answered too many reads already. The flow does not retry that, since the pause
            is minutes long.
        APIMasterError: the gateway could not be asked. The call is free.
    """
    try:
        return (
            yield from _read(
                context, log_call(), read_log, timeout, "This gateway keeps no usage log that this key can read"
            )
        )
    except RateLimitError as error:
        if error.retry_after is None:
            error.advice = _LOG_LIMIT
        raise


def _read(context: Context, call: Call, read: Callable[[Reply], T], timeout: float, missing: str) -> Flow[T]:
    now: Instant = yield Now()
    advice = hint_for_404(context.base_url) or _USE_THE_CONSOLE
    try:
        reply = yield from ask(context, call, deadline=now.monotonic + timeout, retry_rate_limit=False)
        return read(reply)
    except NotFoundError as error:
        raise NotFoundError(
            f"{missing}: {error.message}",
            advice=advice,
            status_code=error.status_code,
            code=error.code,
            request_id=error.request_id,
        ) from None
    except Unreadable as error:
        raise NotFoundError(f"{missing}: {error}.", advice=advice, status_code=reply.status) from None
