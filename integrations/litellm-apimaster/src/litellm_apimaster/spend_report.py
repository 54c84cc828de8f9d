"""The cost that a call reports: once for each image that is paid for, by a call whose caller learns of it."""

from __future__ import annotations

import secrets
import threading
from decimal import Decimal

from apimaster import ImageResult
from apimaster.ledger import Ledger
from apimaster.ledger.schema import Where
from apimaster.ledger.spend import cost_to_report, take_report_back


class SpendReport:
    """What one call reports as the cost of a purchase, unless it is stopped before its result is handed on.

    That is what no call has reported of what is charged, whether or not there is a picture yet. ``result``: what the
    call has got; None: it has failed.

    A cancelled call can't stop the thread in which it asks the ledger. So ``give_up`` works at any time: before,
    while and after ``cost`` runs.
    """

    def __init__(self, ledger: Ledger, key: str, result: ImageResult | None, images: int) -> None:
        self._ledger = ledger
        self._key = key
        self._result = result
        self._images = images
        self._claim = secrets.token_hex(8)
        self._lock = threading.Lock()
        self._claimed = False
        self._given_up = False

    def cost(self) -> Decimal | None:
        """The cost in US dollars that nobody has reported; None: the price is not known. Blocks.

        If the ledger does not know the purchase any more, what another call bought costs nothing here. Without a
        figure, LiteLLM would take the list price.
        """
        result = self._result
        if result is None:
            otherwise: Decimal | None = Decimal(0)
        elif result.cost is None:
            otherwise = Decimal(0) if result.replayed else None
        else:
            otherwise = result.cost - result.replayed_cost
        cost = cost_to_report(
            self._ledger, Where(key=self._key), otherwise, images=self._images, claim=self._claim, paid=True
        )
        with self._lock:
            self._claimed = True
            given_up = self._given_up
        if given_up:
            self._take_back()
        return cost

    def give_up(self) -> None:
        """Nobody gets the result of this call: leave the report to another one. Does not wait."""
        with self._lock:
            self._given_up = True
            claimed = self._claimed
        if claimed:
            self._take_back()

    def _take_back(self) -> None:
        take_report_back(self._ledger, self._key, self._claim, images=self._images)
