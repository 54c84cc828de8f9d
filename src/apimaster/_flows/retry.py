"""What may be sent again, and when. Pure functions: the clock and the dice are handed in.

A paid call (one that buys an image) is repeated by itself only where the wire contract's table says that it was
provably not sent, or refused unbilled: that is what ``.retryable`` on an error with ``.billed == "no"`` means.
A free call (a look at a task, a download, the catalogue) may be repeated after any passing fault.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from ..errors import APIMasterError, RateLimitError


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how patiently.

    Attributes:
        max_retries: repeats after the first try; 0 switches them off.
        base: seconds before the first repeat, doubled for each further one.
        cap: the longest pause in seconds that is chosen on this side.
        dice: a random number in [0, 1) for the jitter.
    """

    max_retries: int = 3
    base: float = 0.5
    cap: float = 8.0
    dice: Callable[[], float] = random.random

    def pause(self, attempt: int, error: APIMasterError) -> float | None:
        """Seconds to wait before repeating after ``error``, or None where it must not be repeated.

        ``attempt`` counts the tries made so far, from 1.
        """
        if attempt > self.max_retries or not error.retryable or error.billed != "no":
            return None
        asked = error.retry_after if isinstance(error, RateLimitError) else None
        return self.backoff(attempt) if asked is None else asked

    def backoff(self, attempt: int) -> float:
        """Exponential, capped, with the upper half left to chance so that callers don't return in step."""
        ceiling = self.cap if attempt > 16 else min(self.cap, self.base * 2 ** (attempt - 1))
        return ceiling * (0.5 + 0.5 * self.dice())
