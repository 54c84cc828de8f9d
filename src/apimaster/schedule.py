"""When to look at a task again: a pure function of what is known, and the memory that it draws on.

Looking early costs a poll; looking late costs the caller's time. In order of trust:

1. *Progress figures*, where the gateway gives them: extrapolated, but a leap that nothing else supports is
   kept short, since a figure may be stuck, invented, or cut off at 99.
2. *Durations seen before* for this model and resolution (``History``): a look is placed behind each cluster of
   them, for at most an eighth of their median in waiting.
3. *Steps* learned from nothing but the endpoint's habit (jobs take 10–60 s, about 19 as a rule: U): short
   where a job is likely to end, long where it isn't, growing to ``LONGEST_BLIND_STEP``. ``estimated_time``
   stretches and cuts these; it is a constant on some channels, so it decides nothing by itself.

Many tasks at once are the case that a fixed plan can't serve: all look at the same moment, and none knows what
the others have found. So each task has its own place (``History.place``): the first few, and one in sixteen
after them, are scouts that look early; the others look late, each at its own moment, and rest in short naps
as long as little is known, so that what the scouts find reaches them before their own look (``Watch``).

All times are seconds since the task was submitted.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

from .durations import History, Key

__all__ = ["History", "Key", "Watch", "next_delay"]

SHORTEST_STEP: Final = 0.05
LONGEST_BLIND_STEP: Final = 5.0
LONGEST_DELAY: Final = 30.0
"""Seconds: a plan is made again at least this often, however sure it was."""

SCOUTS: Final = 1 / 16
ENOUGH: Final = 8
"""So many known durations are believed without a look at whether jobs have become faster or slower."""

_STEP: Final = 0.25
_TIGHTEST: Final = 0.04
_OUTLIVED: Final = 0.15
_TO_EXTRAPOLATE: Final = 0.6  # of a short duration: far enough for a figure to be exact, and hardly ever too late
_EARLY: Final = 0.7  # of the median of the few that are known: a job may well be so much shorter
_LOOK_COSTS: Final = 0.03
_OUTLIVED_STEP: Final = 0.03
_OF_SCATTER: Final = 0.25
_LAST_PLACE: Final = 0.999
_NAP: Final = 0.12
_SHORTEST_NAP: Final = 0.1


def _blind_looks() -> tuple[float, ...]:
    looks = [0.5, 1.2, 2.15, 4.0, 7.0, 10.5, 13.5, 16.0, 18.2, 20.4]
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
    earlier: tuple[float, float] | None = None,
    trusted: bool | None = None,
) -> float:
    """Seconds until the next look at a task.

    Args:
        elapsed: seconds since the submit; anything below 0 counts as 0.
        progress: percent at the last look, or None.
        estimated: seconds that the gateway expects the whole job to take, or None.
        known: durations of finished jobs of the same kind, in ascending order.
        spread: the task's place among its siblings, in [0, 1); below 1/16 it is a scout.
        last: ``elapsed`` at the last look, 0 before the first; None means that it was just now.
        earlier: ``elapsed`` and ``progress`` at a look before the last one, to see whether progress is real.

    Returns:
        At least ``SHORTEST_STEP`` after the last look, at most ``LONGEST_DELAY`` from now, never below 0.
    """
    elapsed = max(0.0, elapsed) if math.isfinite(elapsed) else 0.0
    last = elapsed if last is None or not 0.0 <= last <= elapsed else last
    place = min(max(spread, 0.0), _LAST_PLACE)
    due = max(_target(elapsed, last, progress, _positive(estimated), known, place, earlier, trusted), last + SHORTEST_STEP)
    return min(max(due - elapsed, 0.0), LONGEST_DELAY)


def _target(
    elapsed: float,
    last: float,
    progress: float | None,
    estimated: float | None,
    known: Sequence[float],
    spread: float,
    earlier: tuple[float, float] | None,
    trusted: bool | None,
) -> float:
    blind = _blind(last, spread)
    if trusted and last == 0.0 and known and not (len(known) >= ENOUGH and known[-1] < 1.1 * known[0]):
        return min(blind, _TO_EXTRAPOLATE * known[len(known) // 10])
    foretold = None if trusted is False else foretell(last, progress, earlier)
    if foretold is not None:
        if trusted or known and foretold <= 1.25 * known[-1]:
            return foretold
        leap = max(blind, last * (1.6 if last < 8.0 else 1.2))
        return min(foretold, leap, _learned(elapsed, last, known, blind, spread)) if len(known) >= ENOUGH else min(foretold, leap)
    if known:
        return _learned(elapsed, last, known, blind, spread)
    if estimated is not None:
        step = min(max(blind - last, estimated / 40), LONGEST_BLIND_STEP)
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
        moment = before * (after / before) ** phase
        if moment >= last + 0.4 * (after - before) or last == 0.0:
            return moment
    return last + LONGEST_BLIND_STEP


def _learned(elapsed: float, last: float, known: Sequence[float], blind: float, spread: float) -> float:
    count = len(known)
    few = count < ENOUGH
    median = known[count // 2]
    quick, slow = known[count // 10], known[count - 1 - count // 10]
    step = max(_STEP * (slow - quick), SHORTEST_STEP, _TIGHTEST * median)
    scatter = slow - quick
    first = min(quick + 0.5 * step, slow * 1.005) + (spread - 0.5) * (min(step, scatter) if scatter > 0.1 * median else 0.0)
    if last == 0.0:
        if few:
            early = _EARLY * median
            return early if elapsed < (early + first) / 2 else first
        return first * (0.5 + 0.5 * spread / SCOUTS) if spread < SCOUTS else first
    if last < quick - 0.5 * step:
        return first
    if few or last >= slow:
        step = max(step, min(_OUTLIVED * last, blind - last))
    return last + min(step, LONGEST_BLIND_STEP)


def foretell(last: float, progress: float | None, earlier: tuple[float, float] | None) -> float | None:
    """When the job ends if it goes on as it did, or None where the figures say nothing."""
    if progress is None or not 0.0 < progress <= 100.0 or last <= 0.0:
        return None
    rate = progress / last
    if earlier is not None and 0.0 <= earlier[0] < last:
        gained = progress - earlier[1]
        if gained <= 0.0:
            return None
        recent = gained / (last - earlier[0])
        # Figures are cut to whole percents: a small gain says little about the rate.
        if gained >= 5.0 or recent * (gained + 1.0) / gained < 0.5 * rate:
            rate = recent
    percent = 1.0 / rate  # in seconds: figures are cut, so the end lies up to one percent before the sum
    remaining = (100.0 - progress) * percent - max(0.0, percent - 0.25)
    return last + max(remaining + 0.01 + min(0.005 * last, 0.1), min(0.015 * last, 2.0))


def _positive(value: float | None) -> float | None:
    return value if value is not None and 0.0 < value < math.inf else None


class Watch:
    """The looks at one task: what was seen so far, and when the next one is due. Used by one flow."""

    def __init__(self, history: History, key: Key, *, fresh: bool = True) -> None:
        """``fresh`` is false for a task of another process: nobody knows when that began."""
        self._history = history
        self._key = key
        self._fresh = fresh
        self._spread = history.place(key) if fresh else 0.0
        self._last = 0.0
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
            earlier=self._earlier,
            trusted=self._history.trusts_progress(self._key),
        )

    def nap(self, elapsed: float) -> float:
        """Seconds to sleep before asking again: all of the delay, or a part while there is news to expect."""
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
                    true = 0.95 * self._last <= self._foretold <= 1.1 * received
                    self._history.progress_came_true(self._key, true)
            return
        if self._progress is not None and self._last > 0.0:
            self._earlier = (self._last, self._progress)
        self._last, self._progress, self._estimated = sent, progress, estimated
        self._foretold = foretell(sent, progress, self._earlier)

    def _known(self) -> Sequence[float]:
        return self._history.known(self._key) if self._fresh else ()
