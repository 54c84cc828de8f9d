"""Read the account's own books: what the key may spend, and its usage log.

Not every gateway keeps them: an older one answers with 404, with its web page, or with ``success: false``. That is one
error for the caller, whatever its form.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, TypeVar

from .._wire.account import LOG_ROWS, log_call, read_log, read_usage, usage_call
from .._wire.http_date import parse_http_date
from .._wire.messages import Unreadable
from ..account import Account, Charge, Charges
from ..errors import BadRequestError, LedgerError, NotFoundError, RateLimitError
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

_CLOCKS_DIFFER: Final = 86_400.0  # seconds that a clock may be slow, or set for another time zone
_USE_THE_CONSOLE: Final = "Look at the usage log in the console of the gateway."
_LOG_LIMIT: Final = "Try again in some minutes: the gateway allows about 20 reads of the log in 20 minutes."


def account(context: Context, timeout: float) -> Flow[Account]:
    """What the key may spend, and has spent. ``timeout`` is in seconds.

    Raises:
        NotFoundError: the gateway does not tell.
        APIMasterError: the gateway could not be asked. The call is free.
    """
    return (
        yield from read_page(
            context, usage_call(), read_usage, timeout, "This gateway keeps no figures that this key can read"
        )
    )


def charges_for_caller(
    context: Context, timeout: float, since: Callable[[float], float] | None = None
) -> Flow[Charges]:
    """The rows of the log since a time, counted in the client's ledger: settling shares the gateway's limit with them.

    The limit is the gateway's to enforce, and a ledger that can't be written stops no reading. ``since`` gives unix
    seconds from the present, which is the gateway's once it has answered: its clock dates the rows.

    Raises:
        BadRequestError: the time has not come yet. Nothing was sent.
        Others: as ``dated_charges``.
    """
    now: Instant = yield Now()
    if since is not None and since(now.wall) > now.wall + _CLOCKS_DIFFER:
        raise BadRequestError(
            f"since is {since(now.wall) - now.wall:,.0f} s in the future",
            advice="Pass unix seconds (not milliseconds), a datetime, or a timedelta back from now.",
        )
    if context.ledger is not None:
        try:
            yield from reserve_log_read(context.ledger, context.account, LOG_ROUTE_LIMIT, LOG_PERIOD)
        except LedgerError as error:
            _log.warning("A reading of the usage log is not counted: %s", error.message)
    rows, date = yield from dated_charges(context, timeout)
    start = None if since is None else since(now.wall if date is None else date)
    found = charges_since(rows, start)
    if since is not None and not found.complete:
        _log.warning(
            "The usage log does not reach back to the time that was asked for: it holds the newest %d rows.", len(rows)
        )
    return found


def charges_since(rows: Sequence[Charge], start: float | None) -> Charges:
    """The rows of this time (unix seconds) or later, and those that have no date. None: all."""
    oldest = min((row.at for row in rows if row.at), default=0)
    complete = len(rows) < LOG_ROWS or (start is not None and oldest < start)
    kept = rows if start is None else [row for row in rows if row.at >= start or not row.at]
    return Charges(kept, complete)


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


def dated_charges(context: Context, timeout: float) -> Flow[tuple[tuple[Charge, ...], float | None]]:
    """The newest rows of the key's usage log, newest first, and unix seconds by the gateway's clock, if it says them.

    ``timeout`` is in seconds.

    Raises:
        NotFoundError: the gateway keeps no log, or this key can't read it.
        RateLimitError: the gateway has answered too many reads already. The flow does not retry that, since the pause
            is minutes long.
        APIMasterError: the gateway could not be asked. The call is free.
    """
    try:
        return (
            yield from read_page(
                context, log_call(), _read_dated_log, timeout, "This gateway keeps no usage log that this key can read"
            )
        )
    except RateLimitError as error:
        if error.retry_after is None:
            error.advice = _LOG_LIMIT
        raise


def _read_dated_log(reply: Reply) -> tuple[tuple[Charge, ...], float | None]:
    return read_log(reply), parse_http_date(reply.headers.get("date"))


def read_page(
    context: Context,
    call: Call,
    read: Callable[[Reply], T],
    timeout: float,
    missing: str,
    advice: str = _USE_THE_CONSOLE,
) -> Flow[T]:
    """What ``read`` makes of the reply to a free call beside ``/v1``. ``timeout`` is in seconds.

    Raises:
        NotFoundError: there is no such page, or nothing on it that can be read; ``missing`` says what is missing.
        APIMasterError: the gateway could not be asked.
    """
    now: Instant = yield Now()
    advice = hint_for_404(context.base_url) or advice
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
