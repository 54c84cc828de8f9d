"""One shared answer to "too many requests", and how many images are under way at once. Pure: the caller passes the
time and the random numbers in.

After a refusal, no image is submitted until the pause is over: a thousand jobs that each back off by themselves
would still come back all at once. The ceiling follows what the gateway accepts: it falls by a quarter on a refusal, but
only once for each burst of refusals, and it rises by one for each full round of accepted submits. TCP shares a
connection by the same rule (additive increase, multiplicative decrease).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

SHORTEST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 60.0
"""The longest pause in seconds that is chosen on this side; the gateway may ask for more."""

_DECREASE: Final = 0.75


class Throttle:
    """How many images may be under way, and when the next may be submitted.

    Args:
        concurrency: the most images under way at once.
        random_number: gives a number in [0, 1) for the jitter.
    """

    def __init__(self, concurrency: int, random_number: Callable[[], float] = random.random) -> None:
        self.concurrency = concurrency
        self._ceiling = float(concurrency)
        self._random_number = random_number
        self._refusals = 0
        self.resume_at = 0.0
        self.rate_limited = True
        """Whether the last refusal was a 429; else the gateway could not be reached."""

    @property
    def ceiling(self) -> int:
        """How many images may be under way now."""
        return max(1, int(self._ceiling))

    @property
    def refusals(self) -> int:
        """Pauses in a row without an accepted submit between them."""
        return self._refusals

    def pause(self, now: float) -> float:
        """Seconds until the next submit; 0 if it may go now."""
        return max(0.0, self.resume_at - now)

    def accepted(self) -> None:
        """Note a submit that the gateway accepted."""
        self._refusals = 0
        if self._ceiling < self.concurrency:
            self._ceiling = min(float(self.concurrency), self._ceiling + 1.0 / self._ceiling)

    def refused(
        self, now: float, under_way: int, retry_after: float | None = None, *, rate_limited: bool = True
    ) -> float:
        """Note a submit that was refused. Gives the seconds of the pause that now holds for all images.

        Args:
            now: monotonic seconds.
            under_way: how many images are under way, without this one.
            retry_after: seconds that the gateway asked for.
            rate_limited: True for a 429, where fewer at once helps; False if the gateway can't be reached at all.
        """
        if now < self.resume_at:
            # One of a burst that was on its way when the first refusal came: the pause has begun already.
            if retry_after is not None:
                self.resume_at = max(self.resume_at, now + retry_after)
            return self.pause(now)
        self._refusals += 1
        self.rate_limited = rate_limited
        if rate_limited:
            self._ceiling = max(1.0, min(self._ceiling, float(max(1, under_way))) * _DECREASE)
        if retry_after is None:
            longest = min(LONGEST_PAUSE, SHORTEST_PAUSE * 2.0 ** min(self._refusals - 1, 16))
            seconds = longest * (0.5 + 0.5 * self._random_number())
        else:
            seconds = retry_after
        self.resume_at = now + seconds
        return seconds
