"""One cap on the polls per second of a client, fair between its tasks.

Virtual scheduling (GCRA): one number holds the time of the next free turn, and each poll takes it and moves it
on by one interval. That is first come first served, takes constant time and no queue, and needs no sleeping
here: the caller gets the seconds to wait. A short burst is let through, since looks bunch up by chance.

Why 5,000 polls per second by default: the cap is there for mishaps and crowds, not for the normal case. The schedule
spends some ten looks on a job of twenty seconds, so a thousand such jobs at once ask 500 times per second; a
thousand jobs of two seconds that end within half a second ask 2,500 times, and at 2,000 would be told up to 0.1 s
later. A busy gateway says 429, and that is what slows the client down to where it is welcome: to half of the
rate at which it was really asking.
"""

from __future__ import annotations

import math
from threading import Lock
from typing import Final

from ..errors import BadRequestError

DEFAULT_POLLS_PER_SECOND: Final = 5000.0

_BURST: Final = 0.02  # seconds' worth of turns that may be taken at once
_SLOWEST: Final = 0.5  # polls per second; a wait must go on even where every look is refused
_ECHO: Final = 1.0  # refusals so soon after one another are one refusal: their polls were under way together
_QUIET: Final = 5.0  # seconds without a refusal before the rate grows again …
_DOUBLING: Final = 5.0  # … to twice as much in so many seconds
_LONGEST_HOLD: Final = 30.0  # of a Retry-After, since one odd header must not silence a whole client
_WINDOW: Final = 1.0


class RateLimiter:
    """Hands out turns. Safe to share between threads; times are seconds of one monotonic clock."""

    def __init__(self, max_per_second: float | None = None) -> None:
        """``max_per_second`` is a finite number above 0; None means ``DEFAULT_POLLS_PER_SECOND``.

        Raises:
            BadRequestError: it is something else.
        """
        limit = DEFAULT_POLLS_PER_SECOND if max_per_second is None else max_per_second
        if isinstance(limit, bool) or not isinstance(limit, (int, float)) or not 0 < limit < math.inf:
            raise BadRequestError(f"max_polls_per_second must be a finite number above 0, not {max_per_second!r}")
        self._limit = float(limit)
        self._reduced: float | None = None
        self._refused = -math.inf
        self._next = -math.inf
        self._window_start = -math.inf
        self._in_window = 0
        self._in_last_window = 0
        self._lock = Lock()

    def reserve(self, now: float) -> float:
        """Take the next turn; returns the seconds to wait for it, 0 or more."""
        with self._lock:
            self._count(now)
            interval = 1.0 / self._rate(now)
            turn = max(self._next, now - _BURST)
            self._next = turn + interval
            return max(0.0, turn - now)

    def slow_down(self, now: float, retry_after: float | None = None) -> None:
        """A poll was refused (429): half the rate, and nobody asks for ``retry_after`` seconds."""
        with self._lock:
            if now - self._refused >= _ECHO:
                self._count(now)
                asked = max(self._in_window, self._in_last_window) / _WINDOW
                self._reduced = max(min(self._rate(now), max(asked, _SLOWEST)) / 2, min(_SLOWEST, self._limit))
            self._refused = now
            if retry_after is not None and retry_after > 0:
                self._next = max(self._next, now + min(retry_after, _LONGEST_HOLD))

    def rate(self, now: float) -> float:
        """Polls per second that are let through now."""
        with self._lock:
            return self._rate(now)

    def _rate(self, now: float) -> float:
        if self._reduced is None:
            return self._limit
        quiet = now - self._refused - _QUIET
        if quiet <= 0:
            return self._reduced
        grown = self._reduced * math.pow(2.0, min(quiet / _DOUBLING, 64.0))
        if grown >= self._limit:
            self._reduced = None
            return self._limit
        return grown

    def _count(self, now: float) -> None:
        # The rate of asking, from the last full second or this one: exact enough to halve.
        age = now - self._window_start
        if age >= _WINDOW:
            self._in_last_window = self._in_window if age < 2 * _WINDOW else 0
            self._in_window = 0
            self._window_start = now
        self._in_window += 1
