"""How long an image job takes: a fixed time, a range, a number of polls, or until the test says so."""

from __future__ import annotations

import math
import random
import re
from dataclasses import dataclass
from typing import Final

_NUMBER: Final = r"(\d+(?:\.\d+)?|\.\d+)"
_RANGE: Final = re.compile(rf"{_NUMBER}(?:\s*-\s*{_NUMBER})?(?:\s*~\s*{_NUMBER})?\s*s?")
_POLLS: Final = re.compile(r"(\d+)\s*polls?")
_ACCEPTED: Final = "seconds (2), a range (2-6), a median with log-normal scatter (2~0.3), '3 polls', or 'manual'"


@dataclass(frozen=True, slots=True)
class Latency:
    """How long an image job takes.

    Attributes:
        low: the shortest time, in seconds.
        high: the longest time, in seconds; every time between the two is equally likely.
        sigma: log-normal scatter: the drawn time is multiplied by ``exp(gauss(0, sigma))``.
        polls: if set, a job ends after this many unfinished polls, whatever the time: 0 means at the first poll.
        manual: if set, a job ends only when the test calls ``emu.finish`` or ``emu.fail``.
    """

    low: float = 0.0
    high: float = 0.0
    sigma: float = 0.0
    polls: int | None = None
    manual: bool = False

    @property
    def estimate(self) -> int:
        """The whole seconds that a gateway would announce before it knows how long the job will take."""
        return max(1, math.ceil(self.high)) if not self.manual and self.polls is None else 60

    def draw(self, rng: random.Random) -> float:
        """Seconds for one job; infinite if time does not end it."""
        if self.manual:
            return math.inf
        seconds = self.low if self.high == self.low else rng.uniform(self.low, self.high)
        return seconds * math.exp(rng.gauss(0.0, self.sigma)) if self.sigma else seconds


def parse_latency(value: float | str | tuple[float, float] | Latency, sigma: float = 0.0) -> Latency:
    """Read a latency: a number of seconds, ``"2-6"``, ``"2~0.3"``, ``"3 polls"``, ``"manual"`` or a pair.

    Raises:
        ValueError: the value is none of these, is negative, or has an upper end below the lower.
    """
    if isinstance(value, Latency):
        return value
    if isinstance(value, str):
        text = value.strip().lower()
        if text == "manual":
            return Latency(manual=True)
        if polls := _POLLS.fullmatch(text):
            return Latency(polls=int(polls[1]))
        found = _RANGE.fullmatch(text)
        if found is None:
            raise ValueError(f"latency {value!r} can't be read; accepted: {_ACCEPTED}")
        low = float(found[1])
        high = float(found[2]) if found[2] else low
        sigma = float(found[3]) if found[3] else sigma
    elif isinstance(value, tuple):
        low, high = value
    else:
        low = high = float(value)
    if not (0 <= low <= high < math.inf) or not 0 <= sigma < math.inf:
        raise ValueError(f"latency {value!r} must be finite, not negative, and not end before it begins")
    return Latency(low, high, sigma)
