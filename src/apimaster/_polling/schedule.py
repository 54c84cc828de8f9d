"""When to poll a task again: a pure function of what is known, and the state that one task's polls carry.

A poll too early is wasted; one too late costs the caller's time. In order of trust:

1. *Progress*, if the gateway gives it, extrapolated. A figure may be stuck, invented, or cut off at 99, so the next
   poll comes soon until the progress of this kind of task has come true once.
2. *Durations seen before* for this model and resolution (``History``): the first poll comes once the quickest tenth
   has ended, the next ones in steps of an eighth of the range in which most tasks end.
3. *Blind polls*, if nothing is known, by the endpoint's habit (tasks take 10 to 60 s, about 19 as a rule): close
   together where a task is likely to end, far apart elsewhere.

Many tasks at once would all be polled at the same moment, and none would profit from what the others find. So each task
has a place of its own in [0, 1) (``History.place``). Tasks with a place below ``SCOUTS``, and the first sixteen, are
*scouts*: they are polled early. The others are polled later, and sleep in short naps while little is known, so that
what the scouts find reaches them before their own poll (``TaskSchedule.nap``).

All times are seconds since the submit. What each rule buys, from ``python -m benchmarks poll_rules``:

=====================================  =====================================  ============  ==============
rule                                   without it                             seconds late  polls per task
=====================================  =====================================  ============  ==============
a place for each task                  1,000 of 2 s                           0.03 → 0.67   1.4 → 1.0
scouts                                 100 of 2 s                             0.14 → 0.48   4.9 → 1.7
early scouts once durations are known  one after the other, from 20 s to 5 s  7.9 → 10      1.1 → 1.0
naps                                   1,000 of 2 s                           0.03 → 0.99   1.4 → 1.1
blind polls by habit, not geometric    1,000 of 2 s                           0.03 → 0.03   1.4 → 4.9
two blind moments for scouts only      1,000 of 2 s                           0.03 → 0.04   1.4 → 2.8
a shortest blind step                  one of 19 s                            1.3 → 1.2     10 → 19
first polls spread over half a step    1,000 of 2 s                           0.03 → 0.04   1.4 → 1.8
innermost intervals, not middles       1,000 of 2 s, busy client              0.10 → 0.23   1.4 → 1.9
128 durations, not 32                  100 of 19 s, warm                      1.2 → 5.7     4.9 → 1.9
bounded intervals kept                 one after the other, from 20 s to 5 s  7.9 → 9.9     1.1 → 1.1
bounded intervals kept apart           1,000 of 2 s                           0.03 → 0.05   1.4 → 1.6
longer steps for the slowest           100 of 19 s                            0.94 → 0.48   11 → 23
progress                               100 of 19 s, progress, warm            0.15 → 1.2    3.4 → 4.9
its recent rate, not the mean          100 of 19 s, progress stops at 99      1.1 → 0.10    5.1 → 28
trust once it came true                100 of 2 s, progress                   0.03 → 0.03   2.1 → 6.7
it came true if a tenth late           100 of 19 s, progress                  0.16 → 0.18   4.4 → 4.4
no trust before                        1,000 of 2 s, busy client              0.10 → 0.16   1.4 → 1.7
an early poll to extrapolate from      100 of 19 s, progress, warm            0.15 → 0.26   3.4 → 2.0
no such poll if durations are alike    1,000 of 2 s, progress                 0.03 → 0.03   1.2 → 2.0
a limit to trusted progress            100 of 19 s, progress, warm            0.15 → 0.84   3.4 → 2.0
a limit to new progress                one of 19 s, progress                  0.15 → 7.9    7.9 → 2.0
=====================================  =====================================  ============  ==============

The last two figures of each row are those with the rule and, behind the arrow, those without it. "Warm" means that as
many other tasks were seen before. Where a task is known earlier without a rule, the rule is there to save polls.
"It came true if a tenth late" buys least: that one scenario, and just a tenth there.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

from .history import History, Key

__all__ = ["History", "Key", "TaskSchedule", "next_delay"]

SHORTEST_STEP: Final = 0.05
LONGEST_BLIND_STEP: Final = 5.0
LONGEST_DELAY: Final = 30.0
"""Seconds: the next poll is planned again at least this often, however sure the plan was."""

SCOUTS: Final = 1 / 32
"""Tasks whose place is below this are scouts."""

_STEP: Final = 0.125  # of the range between the quickest and the slowest tenth
_OUTLIVED_STEP: Final = 0.1  # of the time so far, for a task that has taken longer than nearly all before
_TO_EXTRAPOLATE: Final = 0.6  # of a short duration: progress is exact enough by then, and the poll rarely too late
_LEAP: Final = 1.6  # times the time so far: progress that has not come true yet is believed no further
_FURTHEST: Final = 3.0  # the same, for progress that has come true before
_SLOWEST: Final = 1e-6  # percent per second: slower than any task, and still to be divided by
_NAP: Final = 0.1  # of the time so far, and at least so many seconds
_NAPS_UNTIL: Final = 16  # durations are known
_LAST_PLACE: Final = 0.999
_FOR_SCOUTS_ONLY: Final = 2  # of the blind moments: what the scouts find spares the others these polls
_SHORTEST_BLIND_STEP: Final = 0.4  # of the step between two blind moments
_SPREAD: Final = 0.5  # of a step, over which the first polls of many tasks are spread
_EARLIEST_SCOUT: Final = 0.5  # of the time of the usual first poll
_ALL_ALIKE: Final = 1.1  # times the shortest duration: the durations predict such tasks as well as progress does
_CAME_TRUE: Final = 1.1  # times the duration: a prediction up to this has come true


def _blind_polls() -> tuple[float, ...]:
    polls = [0.3, 1.2, 2.15, 4.0, 7.0, 10.5, 13.5, 16.0, 18.2, 20.4]
    while (step := 0.11 * polls[-1]) < LONGEST_BLIND_STEP:
        polls.append(polls[-1] + step)
    return tuple(polls)


_BLIND_POLLS: Final = _blind_polls()


def next_delay(
    elapsed: float,
    *,
    progress: float | None = None,
    known: Sequence[float] = (),
    place: float = 0.0,
    last: float | None = None,
    progress_at: float | None = None,
    earlier: tuple[float, float] | None = None,
    trusted: bool | None = None,
) -> float:
    """Seconds until the next poll of a task.

    Args:
        elapsed: seconds since the submit; anything below 0 counts as 0.
        progress: percent at the last poll, or None.
        known: durations of finished tasks of the same kind, in ascending order.
        place: the task's place among the others, in [0, 1); below 1/32 it is a scout.
        last: ``elapsed`` at the last poll, 0 before the first; None means that it was just now.
        progress_at: when ``progress`` was true; None means at the last poll.
        earlier: ``progress_at`` and ``progress`` of a poll before the last one.
        trusted: whether the progress of an earlier task came true; None if that is not known.

    Returns:
        At least ``SHORTEST_STEP`` after the last poll, at most ``LONGEST_DELAY`` from now, never below 0.
    """
    elapsed = max(0.0, elapsed) if math.isfinite(elapsed) else 0.0
    last = elapsed if last is None or not 0.0 <= last <= elapsed else last
    if not 0.0 <= place <= _LAST_PLACE:
        place = _LAST_PLACE if place > _LAST_PLACE else 0.0
    end = None if trusted is False else predict_end(last if progress_at is None else progress_at, progress, earlier)
    target = _target(last, end, known, place, trusted=trusted is True)
    return min(max(target - elapsed, last - elapsed + SHORTEST_STEP, 0.0), LONGEST_DELAY)


def _target(last: float, end: float | None, known: Sequence[float], place: float, *, trusted: bool) -> float:
    """When the next poll is due, since the submit; ``end`` is what progress predicts."""
    blind = _blind(last, place)
    if trusted and last == 0.0 and known and known[-1] >= _ALL_ALIKE * known[0]:
        return min(blind, _TO_EXTRAPOLATE * known[len(known) // 10])
    if end is not None and trusted:
        return min(end, max(blind, _FURTHEST * last))
    learned = _learned(last, known, blind, place) if known else math.inf
    if end is None:
        return learned if known else blind
    return min(end, max(blind, _LEAP * last), learned)


def _blind(last: float, place: float) -> float:
    """The first of this task's own moments that is a good part of a step after ``last``."""
    scout = place < SCOUTS
    phase = place / SCOUTS if scout else place
    first = 0 if scout else _FOR_SCOUTS_ONLY
    for index in range(max(bisect_right(_BLIND_POLLS, last) - 2, first), len(_BLIND_POLLS) - 1):
        before, after = _BLIND_POLLS[index : index + 2]
        moment = before * math.pow(after / before, phase)
        if moment >= last + _SHORTEST_BLIND_STEP * (after - before) or last == 0.0:
            return moment
    return last + LONGEST_BLIND_STEP


def _learned(last: float, known: Sequence[float], blind: float, place: float) -> float:
    """When the next poll is due by the durations of other tasks."""
    count = len(known)
    quick, slow = known[count // 10], known[count - 1 - count // 10]
    step = max(_STEP * (slow - quick), SHORTEST_STEP)
    first = quick + place * _SPREAD * step  # not all at the same moment
    if last == 0.0 and place < SCOUTS:
        # Have tasks become quicker? A poll after the end of all of them would never show it, so scouts come early.
        return first * (_EARLIEST_SCOUT + (1.0 - _EARLIEST_SCOUT) * place / SCOUTS)
    if last < first - 0.5 * step:
        return first
    if last >= slow:
        step = max(step, min(_OUTLIVED_STEP * last, blind - last))
    return last + min(step, LONGEST_BLIND_STEP)


def predict_end(at: float, progress: float | None, earlier: tuple[float, float] | None) -> float | None:
    """When the task ends if its progress goes on as it did, or None if the figures say nothing."""
    if progress is None or not 0.0 < progress <= 100.0 or not 0.0 < at < math.inf:
        return None
    rate = progress / at
    if earlier is not None and 0.0 <= earlier[0] < at:
        rate = (progress - earlier[1]) / (at - earlier[0])
    if rate < _SLOWEST:  # it is stuck, or goes back
        return None
    return at + (100.0 - progress) / rate


class TaskSchedule:
    """The polls of one task: what they have shown so far, and when the next one is due. Used by one flow."""

    def __init__(self, history: History, key: Key, *, fresh: bool = True) -> None:
        """``fresh`` is false for a task of another process: nobody knows when that began."""
        self._history = history
        self._key = key
        self._fresh = fresh
        self._place = history.place(key) if fresh else 0.0
        self._last = 0.0
        self._progress_at = 0.0
        self._progress: float | None = None
        self._earlier: tuple[float, float] | None = None
        self._predicted: float | None = None

    @property
    def place(self) -> float:
        """The task's place among the others, in [0, 1)."""
        return self._place

    def delay(self, elapsed: float) -> float:
        """Seconds until the next poll, as things are now; 0 means: poll."""
        return next_delay(
            elapsed,
            progress=self._progress,
            known=self._known(),
            place=self._place,
            last=self._last,
            progress_at=self._progress_at,
            earlier=self._earlier,
            trusted=self._history.trusts_progress(self._key),
        )

    def nap(self, elapsed: float) -> float:
        """Seconds to sleep before asking again; 0 means: poll. A part of the delay while there is news to expect."""
        delay = self.delay(elapsed)
        if not self._fresh or len(self._known()) >= _NAPS_UNTIL:
            return delay
        return min(delay, max(_NAP, _NAP * elapsed))

    def polled(self, sent: float, received: float, *, done: bool, progress: float | None) -> None:
        """Take in an answered poll: ``sent`` and ``received`` are seconds since the submit."""
        if done:
            if self._fresh:
                self._history.observe(self._key, self._last, received)
                if self._predicted is not None:
                    # It can't have predicted an end that is too early: the last poll, which is before it, found none.
                    self._history.progress_came_true(self._key, self._predicted <= _CAME_TRUE * received)
            return
        if progress is None and self._history.trusts_progress(self._key):
            self._history.progress_came_true(self._key, None)  # the gateway has stopped giving it
        if self._progress is not None and self._progress_at > 0.0:
            self._earlier = (self._progress_at, self._progress)
        self._last, self._progress = sent, progress
        self._progress_at = (sent + received) / 2  # the gateway read its clock somewhere in between
        self._predicted = predict_end(self._progress_at, progress, self._earlier)

    def _known(self) -> Sequence[float]:
        return self._history.known(self._key) if self._fresh else ()
