"""When to poll a task whose end a webhook reports: seldom, in case the delivery is lost.

The first poll comes when nearly all tasks of the kind have ended, plus half of that, plus a margin: a delivery that is
on its way gets there first. The polls that follow are further and further apart. So a delivery that arrives saves every
poll, and one that is lost costs time.

All times are seconds since the submit.
"""

from __future__ import annotations

from typing import Final

from .history import History, Key

LONGEST_STEP: Final = 300.0
"""Seconds between two polls at most."""

_USUAL: Final = {"2K": 90.0, "4K": 180.0}  # seconds in which nearly all tasks end, if nothing is known
_USUAL_1K: Final = 60.0
_PATIENCE: Final = 1.5  # times the expected duration
_GROWTH: Final = 0.5  # of the time so far: the step to the next poll
_SPREAD: Final = 0.5  # of the margin, over which the first polls are spread: all deliveries may be lost at once
_NAP: Final = 0.25  # of the margin and of the time so far
_NAPS_UNTIL: Final = 16  # durations are known


class SafetyNet:
    """The rare polls of one task. Used by one flow."""

    def __init__(self, history: History, key: Key, *, margin: float, place: float) -> None:
        """``place``, in [0, 1), is the task's among the others."""
        self._history = history
        self._key = key
        self._margin = margin
        self._place = place
        self._last: float | None = None

    def nap(self, elapsed: float) -> float:
        """Seconds to sleep before asking again; 0 means: poll.

        A part of the rest while few durations are known, since what other tasks show may bring the poll forward.
        """
        known = self._history.known(self._key)
        rest = max(0.0, self._due(known) - elapsed)
        if len(known) >= _NAPS_UNTIL:
            return rest
        return min(rest, _NAP * (self._margin + elapsed))

    def polled(self, elapsed: float) -> None:
        """A poll was answered, and the task goes on."""
        self._last = elapsed

    def _due(self, known: tuple[float, ...]) -> float:
        if self._last is not None:
            return self._last + min(max(self._margin, _GROWTH * self._last), LONGEST_STEP)
        usual = _USUAL.get(self._key[1], _USUAL_1K)
        expected = known[len(known) - 1 - len(known) // 10] if known else usual
        return _PATIENCE * expected + self._margin * (1.0 + _SPREAD * self._place)
