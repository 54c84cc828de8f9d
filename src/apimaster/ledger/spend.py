"""What a call reports as its cost, for adapters whose spend is added up elsewhere: each charge is reported once.

A second call may get a picture while the first one is at work on it, and the first one may be killed before it reports
anything. So nobody can tell beforehand which of them has to report the cost. The ledger decides it at the end: the
first call that asks when the picture is made, or paid for, reports what it cost, and all others report nothing.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
from decimal import Decimal
from typing import TYPE_CHECKING

from ..errors import LedgerError
from .steps import Report, Reported, Unreported

if TYPE_CHECKING:
    from .ledger import Ledger
    from .schema import Where

_log = logging.getLogger("apimaster")


def cost_to_report(
    ledger: Ledger,
    bought: Where,
    otherwise: Decimal | None,
    *,
    images: int | None = None,
    claim: str | None = None,
    paid: bool = False,
) -> Decimal | None:
    """US dollars of these purchases that no call has reported: from now on, this one has. Blocks.

    Args:
        ledger: the ledger.
        bought: the purchases.
        otherwise: the cost as far as the call knows it by itself, for purchases that the ledger does not know.
        images: how many images of a key the call has asked for; None: all that there are.
        claim: a name for this report, by which ``take_report_back`` knows it.
        paid: report what is charged, whether or not there is a picture yet.
    """
    claim = claim or secrets.token_hex(8)
    ids = [] if bought.key is None else [(bought.key, index) for index in range(images or 1)]
    try:
        rows = [row for row in ledger.rows(bought) if images is None or row.index < images]
        ids = [row.id for row in rows]
        # Each of them, whatever its state was: that its picture is made may be written down only with this step.
        steps = [ledger.take(Report(key=row.key, index=row.index, claim=claim, paid=paid)) for row in rows]
        mine = [row for step in steps if (row := step.result()) is not None]
    except LedgerError as error:  # the pictures are here: they need some cost
        _log.warning("%s", error.message)
        if otherwise != 0:
            with contextlib.suppress(LedgerError):  # it is closed
                for key, index in ids:
                    ledger.take(Reported(key=key, index=index, claim=claim, paid=paid))  # written when that is possible
        return otherwise
    if not mine and not any(row.state in ("delivered", "saved") for row in rows):
        return otherwise
    costs = [row.cost for row in mine]
    return sum((cost for cost in costs if cost is not None), Decimal(0)) if None not in costs else otherwise


def take_report_back(ledger: Ledger, key: str, claim: str, *, images: int) -> None:
    """The call was stopped before anybody learned the cost that it was to report: leave it to the next one.

    Does not wait. Call it after ``cost_to_report`` has returned, with the same ``claim``.
    """
    for index in range(images):
        with contextlib.suppress(LedgerError):  # it is closed
            ledger.take(Unreported(key=key, index=index, claim=claim))
