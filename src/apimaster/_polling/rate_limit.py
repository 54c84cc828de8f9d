"""One limit on the polls per second of a client, shared by all its tasks.

Each poll takes the next free time, and that moves on by one interval (the algorithm is known as GCRA, or virtual
scheduling). So polls are sent in the order in which they were reserved, a reservation takes constant time, and nothing
sleeps here: the caller gets the seconds to wait.

A gateway that gets too many polls answers 429. The client then sends half as many polls per second as it really sent,
and more again when no poll was refused for a while. If the gateway names a time in ``Retry-After``, no poll that is
reserved later is sent before that.

The default of 5,000 polls per second is a guard against mistakes, and it seldom slows a client: a task of 20 s takes
some ten polls, so a thousand of them at once take 500 per second. What each rule buys, from
``python -m benchmarks poll_rules``:

=====================================  ==================================  ============  ==============  ============
rule                                   without it                          seconds late  polls per task  refused ones
=====================================  ==================================  ============  ==============  ============
a limit to the polls of a client       5,000 of 2 s                        0.55 → 0.13   1.3 → 1.9       0.00 → 0.00
5,000 per second, not 1,000            1,000 of 2 s                        0.14 → 0.54   1.8 → 1.3       0.00 → 0.00
a slower rate after a 429              1,000 of 19 s, 100/s                4.1 → 6.2     3.7 → 11        0.63 → 8.1
half the measured rate, not the limit  1,000 of 19 s, 100/s                4.1 → 6.4     3.7 → 11        0.63 → 8.1
polls count when sent, not reserved    100 of 19 s, 10/s                   4.6 → 15      3.4 → 2.8       0.76 → 0.37
refusals within 1 s are one            1,000 of 19 s, 100/s                4.1 → 1,000   3.7 → 1.3       0.63 → 0.06
5 s before the rate grows again        100 of 19 s, 10/s                   4.6 → 6.1     3.4 → 3.2       0.76 → 0.33
growth                                 1,000 of 2 s, a minute after a 429  0.14 → 128    1.8 → 1.0       0.00 → 0.00
growth by doubling, not at once        100 of 19 s, 10/s                   4.6 → 6.2     3.4 → 6.1       0.76 → 3.3
a slowest rate                         (none)                              no change     no change       no change
Retry-After holds all polls            100 of 19 s, refused for 5 s, told  1.4 → 1.9     5.9 → 6.3       0.05 → 1.0
a longest hold                         100 of 19 s, one 429, told an hour  29 → 3,570    4.3 → 4.3       0.01 → 0.01
=====================================  ==================================  ============  ==============  ============

The last three figures of each row are those with the rule and, behind the arrow, those without it. In the scenarios the
gateway answers only so many polls per second, or refuses all polls or one of them; "told" means with a ``Retry-After``.

Two rules are not better everywhere. Without the hold, 1,000 tasks of 19 s at 100 polls per second with a right
``Retry-After`` are 4.1 s late and not 7.0, with 0.63 refused polls and not 0.25: the hold does what the gateway asks.
Without the 5 s, the same tasks are 5.0 s late, with 0.62 refused polls.

Three rules are bounds for safety, whatever they cost in a scenario. The limit protects the gateway from a client with
too many tasks. The slowest rate keeps a wait going if every poll is refused. The longest hold keeps one odd header from
stopping a client.
"""

from __future__ import annotations

import math
from threading import Lock
from typing import Final

from ..errors import BadRequestError

DEFAULT_POLLS_PER_SECOND: Final = 5000.0

_MEMORY: Final = 0.5  # seconds in which a poll's weight in the measured rate falls to 1/e
_ECHO: Final = 1.0  # seconds after a refusal in which others count as the same: their polls were under way together
_QUIET: Final = 5.0  # seconds without a refusal before the rate grows again …
_DOUBLING: Final = 5.0  # … to twice as much in so many seconds
_SLOWEST_RATE: Final = 0.5  # polls per second: a wait must go on even if every poll is refused
_LONGEST_HOLD: Final = 30.0  # seconds of a Retry-After, since one odd header must not silence a client


class RateLimiter:
    """Gives each poll the time at which it may be sent. Safe to share between threads.

    All times are seconds of one monotonic clock.
    """

    def __init__(self, max_per_second: float | None = None) -> None:
        """``max_per_second`` is a finite number above 0; None means ``DEFAULT_POLLS_PER_SECOND``.

        Raises:
            BadRequestError: it is something else.
        """
        limit = DEFAULT_POLLS_PER_SECOND if max_per_second is None else max_per_second
        if isinstance(limit, bool) or not isinstance(limit, (int, float)) or not 0 < limit < math.inf:
            raise BadRequestError(f"max_polls_per_second must be a finite number above 0, not {max_per_second!r}")
        self._limit = float(limit)
        self._reduced: float | None = None  # the rate after the last refusal; None: the limit holds
        self._refused = -math.inf
        self._next = -math.inf
        self._measured = 0.0  # polls per second at the time of the last poll
        self._last = -math.inf
        self._lock = Lock()

    def reserve(self, now: float) -> float:
        """Take the next free time for a poll.

        Returns:
            The seconds to wait until then, 0 or more.
        """
        with self._lock:
            at = max(self._next, now)
            self._next = at + 1.0 / self._rate(now)
            self._measured = self._measured_at(at) + 1.0 / _MEMORY
            self._last = at
            return at - now

    def slow_down(self, now: float, retry_after: float | None = None) -> None:
        """A poll was refused with 429: halve the rate.

        Args:
            now: when the refusal arrived.
            retry_after: seconds that the gateway asks for; later polls are not sent before they are over.
        """
        with self._lock:
            if now - self._refused >= _ECHO:
                self._reduced = max(min(self._rate(now), self._measured_at(now)) / 2, min(_SLOWEST_RATE, self._limit))
            self._refused = now
            self._next = max(self._next, now + min(retry_after or 0.0, _LONGEST_HOLD))

    def rate(self, now: float) -> float:
        """The polls per second that may be sent now."""
        with self._lock:
            return self._rate(now)

    def _rate(self, now: float) -> float:
        if self._reduced is None:
            return self._limit
        doublings = max(0.0, now - self._refused - _QUIET) / _DOUBLING
        grown = self._reduced * math.pow(2.0, min(doublings, 64.0))
        if grown >= self._limit:
            self._reduced = None
            return self._limit
        return grown

    def _measured_at(self, now: float) -> float:
        """The rate at which polls are sent: each counts when its time comes, not when it was reserved."""
        # While polls wait for their time, ``now`` is before the last one: the rate is then that of the waiting ones.
        return self._measured * math.exp(min(0.0, self._last - now) / _MEMORY)
