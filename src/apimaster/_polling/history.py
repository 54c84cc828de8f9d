"""How long tasks took, by model and resolution: what one client has seen, and the place of each task among the others.

A duration is never seen, only enclosed: the task was unfinished when one poll was sent, and finished when the reply to
the next one was there. What many such intervals have in common is found as in the statistics of interval-censored data:
the durations lie in Turnbull's *innermost intervals*, those between a lower and an upper end with no other end between
them. So tasks of one length, polled at random moments, give that length to within the gap between any two polls, not
the gap between two polls of one task.

A task whose first poll finds it finished says no more than "not longer". Such intervals are kept apart from the
enclosed ones, so that a crowd of them can't push out the ones that say more.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import OrderedDict, deque
from collections.abc import Sequence
from itertools import pairwise
from threading import Lock
from typing import Final, TypeAlias

Key: TypeAlias = tuple[str, str]
"""Model id and resolution."""

_ENCLOSED_KEPT: Final = 128  # more than a usual crowd: of one that is under way, the quick tasks are known first
_BOUNDED_KEPT: Final = 16
_KINDS: Final = 256
_FIRST_SCOUTS: Final = 16
# Places of the first scouts, so ordered that any first few of them are evenly spread.
_SCOUT_PLACES: Final = tuple(place / 512 for place in (0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15))
_GOLDEN_RATIO: Final = 0.6180339887498949  # its multiples fill an interval evenly, however many there are

_Interval: TypeAlias = tuple[float, float, float]
"""Lower end, upper end, and a number in [0, 1) that says where in it the duration is put."""


class _Kind:
    """What is known of tasks of one model and resolution."""

    __slots__ = ("bounded", "enclosed", "known", "observed", "placed", "progress_is_true")

    def __init__(self) -> None:
        self.enclosed: deque[_Interval] = deque(maxlen=_ENCLOSED_KEPT)
        self.bounded: deque[_Interval] = deque(maxlen=_BOUNDED_KEPT)
        self.observed = 0
        self.placed = 0
        self.progress_is_true: bool | None = None
        self.known: tuple[float, ...] | None = ()


class History:
    """The newest durations of each kind of task. Safe to share between threads."""

    def __init__(self) -> None:
        self._kinds: OrderedDict[Key, _Kind] = OrderedDict()
        self._lock = Lock()

    def observe(self, key: Key, lower: float, upper: float) -> None:
        """A task was unfinished at ``lower`` and finished at ``upper``, in seconds since its submit.

        Args:
            key: model id and resolution.
            lower: when the last poll that found it unfinished was *sent*; 0 if there was none.
            upper: when the reply to the poll that found it finished was *there*.
        """
        lower = max(lower, 0.0)  # and NaN stays what it is
        if not lower <= upper < float("inf"):  # also false for NaN
            return
        with self._lock:
            kind = self._kind(key)
            kind.observed += 1
            intervals = kind.enclosed if lower > 0.0 else kind.bounded
            intervals.append((lower, upper, kind.observed * _GOLDEN_RATIO % 1.0))
            kind.known = None

    def known(self, key: Key) -> tuple[float, ...]:
        """The durations, in ascending order; the same tuple until something new is observed."""
        with self._lock:
            kind = self._kind(key)
            if kind.known is None:
                kind.known = _durations([*kind.enclosed, *kind.bounded])
            return kind.known

    def progress_came_true(self, key: Key, true: bool | None) -> None:
        """A task has ended about when its progress predicted, or it hasn't; None: the gateway gives no progress."""
        with self._lock:
            self._kind(key).progress_is_true = true

    def trusts_progress(self, key: Key) -> bool | None:
        """Whether the progress of the last task came true; None while that is not known."""
        with self._lock:
            return self._kind(key).progress_is_true

    def place(self, key: Key) -> float:
        """A place in [0, 1) for the next task: the first sixteen are scouts, then evenly spread at any count."""
        with self._lock:
            kind = self._kind(key)
            number, kind.placed = kind.placed, kind.placed + 1
        if number < _FIRST_SCOUTS:
            return _SCOUT_PLACES[number]
        return number * _GOLDEN_RATIO % 1.0

    def _kind(self, key: Key) -> _Kind:
        kind = self._kinds.get(key)
        if kind is None:
            kind = self._kinds[key] = _Kind()
            if len(self._kinds) > _KINDS:
                self._kinds.popitem(last=False)
        return kind


def _durations(intervals: Sequence[_Interval]) -> tuple[float, ...]:
    """One duration for each interval, where the intervals agree (in Turnbull's innermost intervals)."""
    ends = sorted([(lower, 0) for lower, _, _ in intervals] + [(upper, 1) for _, upper, _ in intervals])
    innermost = [(low, high) for (low, a), (high, b) in pairwise(ends) if a < b]
    lows = [low for low, _ in innermost]
    highs = [high for _, high in innermost]
    durations = []
    for lower, upper, share in intervals:
        first, end = bisect_left(lows, lower), bisect_right(highs, upper)
        low, high = innermost[first + int(share * (end - first))]
        durations.append(low + share * (high - low))
    return tuple(sorted(durations))
