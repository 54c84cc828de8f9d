"""Read the account's own books: what the key may spend, and its usage log.

Not every gateway keeps them: an older one answers with 404, with its web page, or with ``success: false``. That is one
error for the caller, whatever its form.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeVar

from .._wire.account import log_call, read_log, read_usage, usage_call
from .._wire.http_date import parse_http_date
from .._wire.messages import Unreadable
from ..account import Account, Charge
from ..errors import LedgerError, NotFoundError, RateLimitError
from ..settings import hint_for_404
from .context import Context
from .operations import Await, Call, Flow, Instant, Now, Reply
from .send import ask

if TYPE_CHECKING:
    from .purchase import LedgerLike

T = TypeVar("T")
_log = logging.getLogger("apimaster")

LOG_ROUTE_LIMIT: Final = 20
LOG_PERIOD: Final = 1200.0
"""The gateway answers about so many readings of the log in so many seconds, for each address."""

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


def charges_for_caller(context: Context, timeout: float) -> Flow[tuple[Charge, ...]]:
    """``charges``, counted in the client's ledger, since settling shares the gateway's limit with the caller.

    The limit is the gateway's to enforce, and a ledger that can't be written stops no reading.
    """
    if context.ledger is not None:
        try:
            yield from reserve_log_read(context.ledger, context.account, LOG_ROUTE_LIMIT, LOG_PERIOD)
        except LedgerError as error:
            _log.warning("A reading of the usage log is not counted: %s", error.message)
    return (yield from charges(context, timeout))


def reserve_log_read(
    ledger: LedgerLike, name: str, limit: int, period: float, *, pause: float = 0.0, count: bool = True
) -> Flow[float]:
    """Seconds to wait before the next reading of the log that is counted under ``name``; 0: it is counted."""
    wait: float = yield Await(
        lambda: ledger.call(
            lambda each: each.reserve_log_read(name, limit=limit, period=period, pause=pause, count=count)
        )
    )
    return wait


def charges(context: Context, timeout: float) -> Flow[tuple[Charge, ...]]:
    """The newest rows of the key's usage log, newest first. ``timeout`` is in seconds.

    Raises:
        As ``dated_charges``.
    """
    found, _ = yield from dated_charges(context, timeout)
    return found


def dated_charges(context: Context, timeout: float) -> Flow[tuple[tuple[Charge, ...], float | None]]:
    """The same, and unix seconds by the gateway's clock, if the reply says them.

    Raises:
        NotFoundError: the gateway keeps no log, or this key can't read it.
        RateLimitError: the gateway has answered too many reads already. The flow does not retry that, since the pause
            is minutes long.
        APIMasterError: the gateway could not be asked. The call is free.
    """
    try:
        return (
            yield from _read(
                context, log_call(), _read_dated_log, timeout, "This gateway keeps no usage log that this key can read"
            )
        )
    except RateLimitError as error:
        if error.retry_after is None:
            error.advice = _LOG_LIMIT
        raise


def _read_dated_log(reply: Reply) -> tuple[tuple[Charge, ...], float | None]:
    return read_log(reply), parse_http_date(reply.headers.get("date"))


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
