"""How long jobs took, by model and resolution: what one client has seen, and the places of its tasks.

A duration is never seen, only enclosed: the job was unfinished when one look was sent and finished when the
reply to the next one was there. What many such intervals have in common is found as in the statistics of
interval-censored data: the durations lie in Turnbull's *innermost intervals*, those between a lower and an
upper end with no other end between them. Jobs of one length, looked at at random moments, so give that length
to within the gap between any two looks, not the gap between two looks of one job.

A job that was found finished at its first look says no more than "not longer". Those are kept apart from the
enclosed ones, lest a crowd of them push out the looks that know something.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from threading import Lock
from typing import Final, TypeAlias

Key: TypeAlias = tuple[str, str]
"""Model id and resolution."""

_ENCLOSED_KEPT: Final = 48
_BOUNDED_KEPT: Final = 16
_KINDS: Final = 256
_NOT_SHORTER: Final = 0.5  # where nothing is known but the upper end, the duration is taken to be within a half of it
_EARLIEST: Final = 0.5  # of an innermost interval: a duration is put in its later half, since too early costs a look
_FIRST_SCOUTS: Final = 16
# Places of the scouts among themselves, so ordered that any first few of them lie evenly.
_SCOUT_PLACES: Final = tuple(place / 512 for place in (0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15))
_GOLDEN: Final = 0.6180339887498949
_SILVER: Final = 0.4142135623730951


class _Kind:
    __slots__ = ("bounded", "enclosed", "honest", "observed", "placed", "sorted")

    def __init__(self) -> None:
        self.enclosed: list[tuple[float, float, float]] = []
        self.bounded: list[tuple[float, float, float]] = []
        self.observed = 0
        self.placed = 0
        self.honest: bool | None = None
        self.sorted: tuple[float, ...] | None = ()


class History:
    """Some 64 durations of each kind of job, the newer the likelier. Safe to share between threads."""

    def __init__(self) -> None:
        self._kinds: OrderedDict[Key, _Kind] = OrderedDict()
        self._lock = Lock()

    def observe(self, key: Key, lower: float, upper: float) -> None:
        """A job was unfinished at ``lower`` and finished at ``upper``, in seconds since its submit.

        Args:
            key: model id and resolution.
            lower: when the last look that found it unfinished was *sent*; 0 if there was none.
            upper: when the reply of the look that found it finished was *there*.
        """
        lower = max(lower, 0.0)  # and NaN stays what it is
        if not lower <= upper < float("inf"):  # also false for NaN
            return
        with self._lock:
            kind = self._kind(key)
            kind.observed += 1
            share = kind.observed * _GOLDEN % 1.0
            room = kind.enclosed if lower > 0.0 else kind.bounded
            if len(room) < (_ENCLOSED_KEPT if lower > 0.0 else _BOUNDED_KEPT):
                room.append((lower, upper, share))
            else:
                room[int(share * len(room))] = (lower, upper, kind.observed * _SILVER % 1.0)
            kind.sorted = None

    def known(self, key: Key) -> tuple[float, ...]:
        """The durations, in ascending order; the same tuple until something new is observed."""
        with self._lock:
            kind = self._kind(key)
            if kind.sorted is None:
                kind.sorted = _durations(kind.enclosed + kind.bounded)
            return kind.sorted

    def progress_came_true(self, key: Key, true: bool | None) -> None:
        """A task has ended about when its progress figures foretold, or it hasn't; None: there were none."""
        with self._lock:
            self._kind(key).honest = true

    def trusts_progress(self, key: Key) -> bool | None:
        """Whether the last task's progress figures came true; None while nobody knows."""
        with self._lock:
            return self._kind(key).honest

    def place(self, key: Key) -> float:
        """A place in [0, 1) for the next task: the first sixteen are scouts, then evenly spread at any count."""
        with self._lock:
            kind = self._kind(key)
            number, kind.placed = kind.placed, kind.placed + 1
        if number < _FIRST_SCOUTS:
            return _SCOUT_PLACES[number]
        return number * _GOLDEN % 1.0

    def _kind(self, key: Key) -> _Kind:
        kind = self._kinds.get(key)
        if kind is None:
            kind = self._kinds[key] = _Kind()
            if len(self._kinds) > _KINDS:
                self._kinds.popitem(last=False)
        return kind


def _durations(intervals: Sequence[tuple[float, float, float]]) -> tuple[float, ...]:
    """One duration for each interval, in the places where intervals agree (Turnbull's innermost intervals)."""
    ends = sorted([(lower, 0) for lower, _, _ in intervals] + [(upper, 1) for _, upper, _ in intervals])
    innermost = [(low, high) for (low, a), (high, b) in pairwise(ends) if a < b]
    lows = [low for low, _ in innermost]
    highs = [high for _, high in innermost]
    durations = []
    for lower, upper, share in intervals:
        first, end = bisect_left(lows, lower), bisect_right(highs, upper)
        low, high = innermost[first + int(share * (end - first))]
        low = max(low, _NOT_SHORTER * high)
        durations.append(high - _EARLIEST * (1.0 - share) * (high - low))
    return tuple(sorted(durations))
