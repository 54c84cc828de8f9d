"""One shared answer to "too many requests", and how many images are under way at once. Pure: the clock and the
dice are handed in.

After a refusal nobody submits until the pause is over: a thousand jobs that each back off by themselves still
come back as a crowd. The ceiling follows what the gateway takes: down by a quarter on a refusal, though once per
burst of refusals only; up by one for each full round of accepted submits. That is the rule by which TCP shares
a line.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

SHORTEST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 60.0
"""The longest pause in seconds that is chosen on this side; the gateway may ask for more."""

_DOWN: Final = 0.75


class Throttle:
    """How many may be under way, and from when on something may be submitted.

    Args:
        concurrency: the most images under way at once.
        dice: a random number in [0, 1) for the jitter.
    """

    def __init__(self, concurrency: int, dice: Callable[[], float] = random.random) -> None:
        self.concurrency = concurrency
        self._ceiling = float(concurrency)
        self._dice = dice
        self._refusals = 0
        self.resume_at = 0.0
        self.crowded = True
        """Whether the last refusal asked for fewer; else the gateway could not be reached."""

    @property
    def ceiling(self) -> int:
        """How many may be under way now."""
        return max(1, int(self._ceiling))

    @property
    def refusals(self) -> int:
        """Pauses in a row without an accepted submit between them."""
        return self._refusals

    def pause(self, now: float) -> float:
        """Seconds to wait before anything may be submitted; 0 if nothing stands against it."""
        return max(0.0, self.resume_at - now)

    def accepted(self) -> None:
        """A submit went through."""
        self._refusals = 0
        if self._ceiling < self.concurrency:
            self._ceiling = min(float(self.concurrency), self._ceiling + 1.0 / self._ceiling)

    def refused(self, now: float, under_way: int, retry_after: float | None = None, *, crowded: bool = True) -> float:
        """A submit was put off. Gives the seconds of the pause that now holds for all.

        Args:
            now: monotonic seconds.
            under_way: how many images are under way, this one not counted.
            retry_after: seconds that the gateway asked for.
            crowded: whether fewer at once would help (429), or the gateway can't be reached at all.
        """
        if now < self.resume_at:
            # One of a burst that was on its way when the first refusal came: the answer is given already.
            if retry_after is not None:
                self.resume_at = max(self.resume_at, now + retry_after)
            return self.pause(now)
        self._refusals += 1
        self.crowded = crowded
        if crowded:
            self._ceiling = max(1.0, min(self._ceiling, float(max(1, under_way))) * _DOWN)
        if retry_after is None:
            chosen = min(LONGEST_PAUSE, SHORTEST_PAUSE * 2.0 ** min(self._refusals - 1, 16))
            seconds = chosen * (0.5 + 0.5 * self._dice())
        else:
            seconds = retry_after
        self.resume_at = now + seconds
        return seconds
