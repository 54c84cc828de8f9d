"""While a task is made: what became of purchases whose process died.

Whoever asks again with the key of such a purchase finds out. Nobody may ask, though, and then it would take of its
budget for ever. So a process that lives on asks the usage log as well, one process for all. It does so between a submit
and the first poll of its task, when there is nothing else to do.
"""

from __future__ import annotations

import logging
from typing import Final

from ..errors import APIMasterError
from ..ledger.rows import Row
from ..ledger.schema import Where
from ..ledger.settling import look_is_due
from ..ledger.steps import Look, NotLooked
from .context import Context
from .operations import Await, Flow, Instant, Now

_log = logging.getLogger("apimaster")

_SECONDS: Final = 5.0
"""The longest that a picture may wait for the usage log."""


def settle_left_behind(context: Context, deadline: float) -> Flow[None]:
    """Ask the usage log what became of purchases whose process died, if that is due."""
    now: Instant = yield Now()
    if context.ledger is None or now.monotonic + _SECONDS >= deadline or not context.ledger.may_look(now.monotonic):
        return
    try:
        yield from _settle(context)
    except APIMasterError as error:
        _log.warning("Purchases whose outcome nobody knows could not be settled: %s", error.message)


def _settle(context: Context) -> Flow[None]:
    ledger = context.ledger
    assert ledger is not None
    where = Where(states=("unknown",), account=context.account)
    if not (yield Await(lambda: ledger.call(lambda each: each.rows(where, None, 1)))):
        return
    from .settle import settle_unknown, unknown_rows  # rarely needed

    now: float = yield Await(lambda: ledger.call(lambda each: each.now()))
    rows = yield from unknown_rows(context, ledger)
    due = next((row for row in rows if look_is_due(row, now, ledger.settle_after)), None)
    if due is None:
        return
    look = Look(key=due.key, index=due.index, settle_after=ledger.settle_after)
    mine: Row | None = yield Await(lambda: ledger.take(look))
    if mine is None:
        return
    _log.info("Asking the usage log what became of purchases whose outcome nobody knows")
    if (yield from settle_unknown(context, timeout=_SECONDS)):
        undo = NotLooked(key=due.key, index=due.index, asked_at=mine.settled_at, settled_at=due.settled_at)
        yield Await(lambda: ledger.take(undo))
