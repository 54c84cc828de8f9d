"""When to look at a task again: a pure function of what is known, and the state that one task's looks carry.

Looking early costs a poll; looking late costs the caller's time. In order of trust:

1. *Progress figures*, where the gateway gives them: extrapolated. A figure may be stuck, invented, or cut off at
   99, so a leap is kept short until figures of this kind of job have come true once.
2. *Durations seen before* for this model and resolution (``History``): the first look comes a little after the
   quickest tenth has ended, the next ones in steps of a tenth of the range that most jobs end in.
3. *Blind looks*, from nothing but the endpoint's habit (jobs take 10–60 s, about 19 as a rule: U): close together
   where a job is likely to end, far apart elsewhere. ``estimated_time`` only moves them a little, because some
   channels send a constant.

Many tasks at once are what a fixed plan serves badly: all look at the same moment, and none knows what the others
have found. So each task has a place of its own (``History.place``). The first sixteen, and one in 32 after them,
are scouts that look early; the others look late, and sleep in naps while little is known, so that what the scouts
find reaches them before their own look (``Watch.nap``).

All times are seconds since the task was submitted. The figures below come from simulating bursts, single tasks
and long rows of tasks, of equal and of scattered length; ``tests/test_schedule.py`` holds those simulations.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

from .history import History, Key

__all__ = ["History", "Key", "Watch", "next_delay"]

SHORTEST_STEP: Final = 0.05
LONGEST_BLIND_STEP: Final = 5.0
LONGEST_DELAY: Final = 30.0
"""Seconds: a plan is made again at least this often, however sure it was."""

SCOUTS: Final = 1 / 32
"""Tasks whose place is below this are scouts."""

ENOUGH: Final = 8
"""From so many known durations on, they are believed."""

_FIRST_LOOK: Final = 0.25  # of a step behind the quickest tenth
_STEP: Final = 0.105  # of the range between the quickest and the slowest tenth
_TIGHTEST_STEP: Final = 0.06  # of the median: where all jobs are of one length, a miss is a miss by little
_OUTLIVED_STEP: Final = (0.1, 0.13)  # of the time so far: it took longer than nearly all before; from _LONG on
_EARLY: Final = 0.7  # of the median: how much shorter than the few that are known a job may well be
_WAIT_FOR_SCOUTS: Final = 1.08  # of the longest known: more news is on its way while so little is known
_TO_EXTRAPOLATE: Final = 0.6  # of a short duration: late enough for a figure to be exact, and rarely too late
_SIDE_BY_SIDE: Final = 0.3  # of the same, from the first of a crowd to the last: not all at the same moment
_LEAP: Final = (1.6, 1.2)  # how far ahead unproven figures are believed: early on, and from _LONG on
_LONG: Final = 8.0
_UNSURE: Final = 0.2  # of the elapsed time: how long a look may take for its figure to be used
_LAST_PLACE: Final = 0.999
_NAP: Final = 0.1
_SHORTEST_NAP: Final = 0.1
_APART: Final = 0.1  # of the elapsed time: how far apart two looks must be to be compared
_SLOWEST: Final = 1e-6  # percent per second: slower than any job, and still to be divided by
_FURTHEST: Final = 3.0  # times the elapsed time: no figure is believed further than that


def _blind_looks() -> tuple[float, ...]:
    looks = [0.3, 1.2, 2.15, 4.0, 7.0, 10.5, 13.5, 16.0, 18.2, 20.4]
    while (step := 0.11 * looks[-1]) < LONGEST_BLIND_STEP:
        looks.append(looks[-1] + step)
    return tuple(looks)


_BLIND_LOOKS: Final = _blind_looks()


def next_delay(
    elapsed: float,
    *,
    progress: float | None = None,
    estimated: float | None = None,
    known: Sequence[float] = (),
    spread: float = 0.0,
    last: float | None = None,
    figured: float | None = None,
    earlier: tuple[float, float] | None = None,
    trusted: bool | None = None,
) -> float:
    """Seconds until the next look at a task.

    Args:
        elapsed: seconds since the submit; anything below 0 counts as 0.
        progress: percent at the last look, or None.
        estimated: seconds that the gateway expects the whole job to take, or None.
        known: durations of finished jobs of the same kind, in ascending order.
        spread: the task's place among its siblings, in [0, 1); below 1/32 it is a scout.
        last: ``elapsed`` at the last look, 0 before the first; None means that it was just now.
        figured: when ``progress`` was true; None means at the last look.
        earlier: ``figured`` and ``progress`` of a look before the last one, to see whether progress is real.

    Returns:
        At least ``SHORTEST_STEP`` after the last look, at most ``LONGEST_DELAY`` from now, never below 0.
    """
    elapsed = max(0.0, elapsed) if math.isfinite(elapsed) else 0.0
    last = elapsed if last is None or not 0.0 <= last <= elapsed else last
    if not 0.0 <= spread <= _LAST_PLACE:
        spread = _LAST_PLACE if spread > _LAST_PLACE else 0.0
    foretold = None if trusted is False else foretell(last if figured is None else figured, progress, earlier)
    target = _target(elapsed, last, foretold, estimated, known, spread, trusted)
    return min(max(target - elapsed, last - elapsed + SHORTEST_STEP, 0.0), LONGEST_DELAY)


def _target(
    elapsed: float,
    last: float,
    foretold: float | None,
    estimated: float | None,
    known: Sequence[float],
    spread: float,
    trusted: bool | None,
) -> float:
    """When the next look is due, since the submit."""
    blind = _blind(last, spread)
    if trusted and last == 0.0 and len(known) >= ENOUGH and known[-1] >= 1.1 * known[0]:
        return min(blind, (_TO_EXTRAPOLATE + _SIDE_BY_SIDE * (spread - 0.5)) * known[len(known) // 10])
    if foretold is not None:
        if trusted or (known and foretold <= 1.25 * known[-1]):
            return min(foretold, max(blind, _FURTHEST * last))
        leap = max(blind, last * _LEAP[last >= _LONG])
        learned = _learned(elapsed, last, known, blind, spread) if len(known) >= ENOUGH else leap
        return min(foretold, leap, learned)
    if known:
        return _learned(elapsed, last, known, blind, spread)
    if estimated is not None and 0.0 < estimated < math.inf:
        step = min(max(blind - last, min(estimated / 40, last)), LONGEST_BLIND_STEP)
        at_the_estimate = estimated * 1.02
        return at_the_estimate if last + SHORTEST_STEP < at_the_estimate < last + step else last + step
    return blind


def _blind(last: float, spread: float) -> float:
    """The first of this task's own moments that is a good part of a step after ``last``."""
    scout = spread < SCOUTS
    phase = spread / SCOUTS if scout else spread
    first = 0 if scout else 2
    for index in range(max(bisect_right(_BLIND_LOOKS, last) - 2, first), len(_BLIND_LOOKS) - 1):
        before, after = _BLIND_LOOKS[index : index + 2]
        moment = before * math.pow(after / before, phase)
        if moment >= last + 0.4 * (after - before) or last == 0.0:
            return moment
    return last + LONGEST_BLIND_STEP


def _learned(elapsed: float, last: float, known: Sequence[float], blind: float, spread: float) -> float:
    count = len(known)
    few = count < ENOUGH
    median, quick, slow = known[count // 2], known[count // 10], known[count - 1 - count // 10]
    scatter = slow - quick
    step = max(_STEP * scatter, SHORTEST_STEP, _TIGHTEST_STEP * median)
    first = min(quick + _FIRST_LOOK * step, slow * 1.005)
    if scatter > 0.1 * median:
        first += (spread - 0.5) * min(step, scatter)  # not all at the same moment
    scout = spread < SCOUTS
    if last == 0.0:
        if few and not scout:
            return _WAIT_FOR_SCOUTS * slow
        if few:
            early = _EARLY * median
            return early if elapsed < (early + first) / 2 else first
        # Have jobs become quicker? Who looks when all is over never learns it.
        return first * (0.5 + 0.5 * spread / SCOUTS) if scout else first
    if last < quick - 0.5 * step:
        return first
    if few or last >= slow:
        step = max(step, min(_OUTLIVED_STEP[last >= _LONG] * last, blind - last))
    return last + min(step, LONGEST_BLIND_STEP)


def foretell(last: float, progress: float | None, earlier: tuple[float, float] | None) -> float | None:
    """When the job ends if it goes on as it did, or None where the figures say nothing."""
    if progress is None or not 0.0 < progress <= 100.0 or not 0.0 < last < math.inf:
        return None
    rate = progress / last
    if earlier is not None and 0.0 <= earlier[0] < last:
        gained = progress - earlier[1]
        if gained <= 0.0:
            return None
        recent = gained / (last - earlier[0])
        # Figures are cut to whole percents and a look can wait its turn: a small gain says little about the rate,
        # and so do two looks close together.
        apart = last - earlier[0] >= _APART * last
        if apart and (gained >= 5.0 or recent * (gained + 1.0) / gained < 0.5 * rate):
            rate = recent
    if rate < _SLOWEST:
        return None
    percent = 1.0 / rate  # in seconds: figures are cut, so the end lies up to one percent before the sum
    remaining = (100.0 - progress) * percent - max(0.0, percent - 0.25)
    return last + max(remaining + 0.01 + min(0.005 * last, 0.1), min(0.015 * last, 2.0))


class Watch:
    """The looks at one task: what was seen so far, and when the next one is due. Used by one flow."""

    def __init__(self, history: History, key: Key, *, fresh: bool = True) -> None:
        """``fresh`` is false for a task of another process: nobody knows when that began."""
        self._history = history
        self._key = key
        self._fresh = fresh
        self._spread = history.place(key) if fresh else 0.0
        self._last = 0.0
        self._figured = 0.0
        self._progress: float | None = None
        self._estimated: float | None = None
        self._earlier: tuple[float, float] | None = None
        self._foretold: float | None = None

    def delay(self, elapsed: float) -> float:
        """Seconds until the next look, as things stand now; 0 means: look."""
        return next_delay(
            elapsed,
            progress=self._progress,
            estimated=self._estimated,
            known=self._known(),
            spread=self._spread,
            last=self._last,
            figured=self._figured,
            earlier=self._earlier,
            trusted=self._history.trusts_progress(self._key),
        )

    def nap(self, elapsed: float) -> float:
        """Seconds to sleep before asking again; 0 means: look. A part of the delay while there is news to expect."""
        delay = self.delay(elapsed)
        if not self._fresh or len(self._known()) >= 2 * ENOUGH:
            return delay
        return min(delay, max(_SHORTEST_NAP, _NAP * elapsed))

    def looked(
        self, sent: float, received: float, *, done: bool, progress: float | None, estimated: float | None
    ) -> None:
        """Take in an answered look: ``sent`` and ``received`` are seconds since the submit."""
        if done:
            if self._fresh:
                self._history.observe(self._key, self._last, received)
                if self._foretold is not None:
                    came_true = 0.95 * self._last <= self._foretold <= 1.1 * received
                    self._history.progress_came_true(self._key, came_true)
            return
        if progress is None and self._history.trusts_progress(self._key):
            self._history.progress_came_true(self._key, None)  # there are no figures any more
        if received - sent > _UNSURE * received:
            progress = None  # the look waited its turn: who knows when that figure was true
        if self._progress is not None and self._figured > 0.0:
            self._earlier = (self._figured, self._progress)
        self._last, self._progress, self._estimated = sent, progress, estimated
        self._figured = (sent + received) / 2  # the gateway looked at its clock somewhere in between
        self._foretold = foretell(self._figured, progress, self._earlier)

    def _known(self) -> Sequence[float]:
        return self._history.known(self._key) if self._fresh else ()
