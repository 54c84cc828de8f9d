"""The rules of retries. Pure functions: the caller passes in time and randomness.

The client retries a paid call (one that buys an image) only if it was provably not sent, or refused unbilled: that is
what ``.retryable`` on an error with ``.billed == "no"`` means. A free call (a poll, a download, the list of models) may
be retried after any passing fault.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from ..errors import APIMasterError, RateLimitError


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often the client retries a call, and how long it pauses before each retry.

    Attributes:
        max_retries: retries after the first attempt; 0 turns them off.
        base: seconds before the first retry, doubled for each further one.
        cap: the longest pause in seconds that the client chooses itself.
        dice: returns a random number in [0, 1) for the jitter.
    """

    max_retries: int = 3
    base: float = 0.5
    cap: float = 8.0
    dice: Callable[[], float] = random.random

    def pause(self, attempt: int, error: APIMasterError) -> float | None:
        """Seconds to pause before a retry after ``error``, or None if there must be none.

        ``attempt`` counts the attempts so far, from 1.
        """
        if attempt > self.max_retries or not error.retryable or error.billed != "no":
            return None
        asked = error.retry_after if isinstance(error, RateLimitError) else None
        return self.backoff(attempt) if asked is None else asked

    def backoff(self, attempt: int) -> float:
        """Exponential backoff, capped; its upper half is random, so that callers don't retry in step."""
        ceiling = self.cap if attempt > 16 else min(self.cap, self.base * 2 ** (attempt - 1))
        return ceiling * (0.5 + 0.5 * self.dice())
