"""The state of a batch in numbers: counts, money, speed, time left. Pure: the caller passes the time in."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

from .items import ENDED, SPENT, STATES, ZERO, State
from .ledger_records import StateCount

_SPEED_WINDOW: Final = 120.0
"""Seconds over which images per minute are counted."""

_MIN_SPEED_WINDOW: Final = 5.0


class Tally:
    """Counts of the listed images by state, and what they cost: of all processes that run the batch.

    Args:
        counts: the ledger's counts at the beginning; images that are set aside count only for the money.
        now: monotonic seconds.
    """

    def __init__(self, counts: Iterable[StateCount], now: float) -> None:
        self.begun = now
        self._saved: deque[tuple[float, int]] = deque()
        self._count(counts)

    def update(self, counts: Iterable[StateCount], now: float) -> None:
        """Take over newer counts of the ledger."""
        before = self.counts["saved"]
        self._count(counts)
        if self.counts["saved"] > before:
            self._saved.append((now, self.counts["saved"] - before))

    def _count(self, counts: Iterable[StateCount]) -> None:
        self.counts: dict[State, int] = dict.fromkeys(STATES, 0)
        self.set_aside = 0
        self.spent = ZERO
        self.spent_images = 0
        self.to_come = ZERO
        self.unpriced = 0
        for each in counts:
            cost = (each.price or ZERO) * each.count
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

    def per_minute(self, now: float) -> float:
        """Images saved per minute, over the last two minutes."""
        while self._saved and self._saved[0][0] < now - _SPEED_WINDOW:
            self._saved.popleft()
        seconds = min(_SPEED_WINDOW, max(_MIN_SPEED_WINDOW, now - self.begun))
        return sum(count for _, count in self._saved) * 60.0 / seconds

    def seconds_left(self, now: float) -> float | None:
        """How long the rest takes at this speed; None while nothing is known."""
        speed = self.per_minute(now)
        left = self.total - self.ended
        return left * 60.0 / speed if speed > 0 and left else None
