"""How a batch stands: counts, money, speed, time left. Pure: the clock is handed in."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from decimal import Decimal
from typing import Final

from .items import ENDED, NOTHING, SPENT, STATES, State
from .steps import Sum

_WINDOW: Final = 120.0
"""Seconds over which images per minute are counted."""

_LEAST: Final = 5.0


class Tally:
    """Counts of the listed images by state, and what they cost.

    Args:
        sums: the ledger's sums at the beginning; images that are set aside count for the money only.
        now: monotonic seconds.
    """

    def __init__(self, sums: Iterable[Sum], now: float) -> None:
        self.counts: dict[State, int] = dict.fromkeys(STATES, 0)
        self.set_aside = 0
        self.spent = NOTHING
        self.spent_images = 0
        self.to_come = NOTHING
        self.unpriced = 0
        self.begun = now
        self._ends: deque[float] = deque()
        self.saved_here = 0
        for each in sums:
            cost = (each.price or NOTHING) * each.count
            self.spent += each.sunk
            if each.state in SPENT:
                self.spent += cost
                self.spent_images += each.count
            if not each.listed and each.state not in SPENT:
                self.set_aside += each.count
                continue
            self.counts[each.state] += each.count
            self.unpriced += each.count if each.price is None else 0
            if each.state == "planned":
                self.to_come += cost

    @property
    def total(self) -> int:
        """Images in all."""
        return sum(self.counts.values())

    @property
    def ended(self) -> int:
        """Images that are saved, failed or unknown."""
        return sum(self.counts[state] for state in ENDED)

    @property
    def running(self) -> int:
        """Images that are at the gateway, or on their way to the disk."""
        return self.counts["submitting"] + self.counts["submitted"] + self.counts["delivered"]

    def move(self, before: State, after: State, price: Decimal | None, now: float) -> None:
        """One image goes from one state to another."""
        self.counts[before] -= 1
        self.counts[after] += 1
        cost = price or NOTHING
        was, is_now = before in SPENT, after in SPENT
        if was != is_now:
            self.spent += cost if is_now else -cost
            self.spent_images += 1 if is_now else -1
        if before == "planned":
            self.to_come -= cost
        if after == "planned":
            self.to_come += cost
        if after == "saved":
            self.saved_here += 1
            self._ends.append(now)

    def per_minute(self, now: float) -> float:
        """Images saved per minute, over the last two minutes."""
        while self._ends and self._ends[0] < now - _WINDOW:
            self._ends.popleft()
        seconds = min(_WINDOW, max(_LEAST, now - self.begun))
        return len(self._ends) * 60.0 / seconds

    def seconds_left(self, now: float) -> float | None:
        """How long the rest takes at this speed; None while nothing can be said."""
        speed = self.per_minute(now)
        left = self.total - self.ended
        return left * 60.0 / speed if speed > 0 and left else None
