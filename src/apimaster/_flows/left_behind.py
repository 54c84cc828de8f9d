"""While a task is made: what became of purchases whose process died.

Whoever asks again with the key of such a purchase finds out. Nobody may ask, though, and then it would take of its
budget for ever. So a process that lives on asks the usage log as well, one process for all. It does so between a submit
and the first poll of its task, when there is nothing else to do.
"""

from __future__ import annotations

import logging
from typing import Final

from ..ledger.schema import Where, looks
from ..ledger.settling_due import look_is_due
from .account import reserve_log_read
from .context import Context
from .operations import Await, Flow, Instant, Now

_log = logging.getLogger("apimaster")

_SECONDS: Final = 5.0
"""The longest that a picture may wait for the usage log."""
_TIME_LEFT: Final = 60.0
"""Seconds that a call must have left: a ledger that can't be reached keeps it waiting, too."""
_BETWEEN_LOOKS: Final = 300.0
"""Seconds between two looks of all processes: so they leave most of the readings that the gateway answers."""


def settle_left_behind(context: Context, deadline: float) -> Flow[None]:
    """Ask the usage log what became of purchases whose process died, if that is due.

    Whatever happens, it raises nothing: the caller's image is paid for.
    """
    now: Instant = yield Now()
    left = deadline - now.monotonic
    if context.ledger is None or left < _TIME_LEFT or not context.ledger.may_look(now.monotonic):
        return
    try:
        yield from _settle(context)
    except Exception as error:  # noqa: BLE001 -- see above
        _log.warning("Purchases whose outcome nobody knows could not be settled: %s", error)


def _settle(context: Context) -> Flow[None]:
    ledger = context.ledger
    assert ledger is not None
    where = Where(states=("unknown",), account=context.account)
    if not (yield Await(lambda: ledger.call(lambda each: each.rows(where, None, 1)))):
        return
    from .settle import settle_unknown, unknown_rows  # rarely needed

    now: float = yield Await(lambda: ledger.call(lambda each: each.now()))
    rows = yield from unknown_rows(context, ledger)
    if not any(look_is_due(row, now, ledger.settle_after) for row in rows):
        return
    if (yield from reserve_log_read(ledger, looks(context.account), 1, _BETWEEN_LOOKS)) > 0:
        return  # another process has just looked
    _log.info("Asking the usage log what became of purchases whose outcome nobody knows")
    yield from settle_unknown(context, timeout=_SECONDS)
