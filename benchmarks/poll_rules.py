"""What each rule of the poll planner buys: every rule is taken away in turn, and the scenarios are simulated again.

Deterministic: simulated time, fixed seeds. For each rule it prints the scenarios that change by more than a tenth: the
mean seconds from a task's end until the client knows, and polls per task. A rule that changes nothing can go. The table
in ``apimaster/_polling/schedule.py`` comes from here.
"""

from __future__ import annotations

import contextlib
import statistics
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from unittest import mock

from apimaster._polling import history as history_module
from apimaster._polling import schedule as schedule_module
from apimaster._polling.history import History

from .common import HERE, goal, prepare

sys.path.insert(0, str(HERE.parent / "tests" / "support"))
from poll_simulation import Figures, Outcome, scattered, simulate, whole_percents

SEEDS = range(4)
SHOWS = 0.1  # of lateness or of polls
Result = tuple[float, float]
Patch = Callable[[], contextlib.AbstractContextManager[object]]


def mean(outcomes: Iterable[Outcome]) -> Result:
    listed = list(outcomes)
    return statistics.mean(each.lateness for each in listed), statistics.mean(each.polls for each in listed)


def crowd(median: float, *, warm: bool, progress: Figures | None = None) -> Result:
    """100 tasks of scattered length at once; warm: 100 others were seen before."""
    outcomes = []
    for seed in SEEDS:
        history = History()
        if warm:
            simulate(scattered(100, seed + 50, median), submitted_over=0.1, progress=progress, history=history)
        outcomes.append(simulate(scattered(100, seed, median), submitted_over=0.1, progress=progress, history=history))
    return mean(outcomes)


def burst(seconds: float, **options: Any) -> Result:
    """1,000 tasks of one length."""
    return mean(simulate([seconds] * 1000, submitted_over=over, **options) for over in (0.5, 0.8, 1.0))


def single(median: float, progress: Figures | None = None) -> Result:
    """One task at a time, nothing known."""
    return mean(simulate([seconds], progress=progress) for seconds in scattered(60, 7, median))


def sequence(durations: Iterable[float], progress: Figures | None = None) -> Result:
    """One task after the other, in one client."""
    history = History()
    return mean([simulate([seconds], history=history, progress=progress) for seconds in durations][10:])


def stuck(share: float) -> float:
    return 50.0


def stops_at_99(share: float) -> float:
    return min(99.0, float(int(130 * share)))


SCENARIOS: Mapping[str, Callable[[], Result]] = {
    "1,000 of 2 s": lambda: burst(2.0),
    "1,000 of 2 s, busy client": lambda: burst(2.0, processor=0.0005),
    "1,000 of 2 s, progress": lambda: burst(2.0, progress=whole_percents),
    "1,000 of 20 s": lambda: burst(20.0),
    "100 of 2 s": lambda: crowd(2.0, warm=False),
    "100 of 2 s, warm": lambda: crowd(2.0, warm=True),
    "100 of 2 s, progress": lambda: crowd(2.0, warm=False, progress=whole_percents),
    "100 of 2 s, progress, warm": lambda: crowd(2.0, warm=True, progress=whole_percents),
    "100 of 19 s": lambda: crowd(19.0, warm=False),
    "100 of 19 s, warm": lambda: crowd(19.0, warm=True),
    "100 of 19 s, progress": lambda: crowd(19.0, warm=False, progress=whole_percents),
    "100 of 19 s, progress, warm": lambda: crowd(19.0, warm=True, progress=whole_percents),
    "100 of 19 s, progress stops at 99": lambda: crowd(19.0, warm=True, progress=stops_at_99),
    "100 of 19 s, progress is stuck": lambda: crowd(19.0, warm=True, progress=stuck),
    "one of 19 s": lambda: single(19.0),
    "one of 19 s, progress": lambda: single(19.0, whole_percents),
    "one of 19 s, progress is stuck": lambda: single(19.0, stuck),
    "one of 180 s": lambda: single(180.0),
    "one after the other, 19 s": lambda: sequence(scattered(60, 5, 19.0)),
    "one after the other, 19 s, progress": lambda: sequence(scattered(60, 5, 19.0), whole_percents),
    "one after the other, from 20 s to 5 s": lambda: sequence([20.0] * 40 + [5.0] * 60),
    "one after the other, from 5 s to 20 s": lambda: sequence([5.0] * 40 + [20.0] * 60),
}


def constants(**values: object) -> Patch:
    """With other constants, in whichever of the two modules they are."""

    @contextlib.contextmanager
    def patched() -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for name, value in values.items():
                module = history_module if hasattr(history_module, name) else schedule_module
                stack.enter_context(mock.patch.object(module, name, value))
            yield

    return patched


def function(owner: object, name: str, replacement: Callable[..., object]) -> Patch:
    return lambda: mock.patch.object(owner, name, replacement)


def geometric() -> tuple[float, ...]:
    polls = [0.3]
    while 0.35 * polls[-1] < schedule_module.LONGEST_BLIND_STEP:
        polls.append(1.35 * polls[-1])
    return tuple(polls)


def without_scouts(self: History, key: history_module.Key) -> float:
    with self._lock:
        kind = self._kind(key)
        number, kind.placed = kind.placed, kind.placed + 1
    return max(number * history_module._GOLDEN_RATIO % 1.0, schedule_module.SCOUTS)


def middles(intervals: Iterable[tuple[float, float, float]]) -> tuple[float, ...]:
    return tuple(sorted((lower + upper) / 2 for lower, upper, _ in intervals))


_next_delay = schedule_module.next_delay
_predict_end = schedule_module.predict_end
_target = schedule_module._target


def never_trusted(elapsed: float, **options: Any) -> float:
    return _next_delay(elapsed, **{**options, "trusted": None})


def always_trusted(elapsed: float, **options: Any) -> float:
    return _next_delay(elapsed, **{**options, "trusted": True})


def no_early_poll(*arguments: Any, trusted: bool) -> float:
    last, end = arguments[:2]
    return _target(*arguments, trusted=trusted and not (last == 0.0 and end is None))


RULES: Mapping[str, Patch] = {
    "a place for each task": function(History, "place", lambda self, key: 0.5),
    "scouts": function(History, "place", without_scouts),
    "naps": function(schedule_module.TaskSchedule, "nap", schedule_module.TaskSchedule.delay),
    "blind polls by the endpoint's habit": constants(_BLIND_POLLS=geometric()),
    "durations in innermost intervals": function(history_module, "_durations", middles),
    "128 durations instead of 32": constants(_ENCLOSED_KEPT=32),
    "longer steps for the slowest tasks": constants(_OUTLIVED_STEP=0.0),
    "progress": function(schedule_module, "predict_end", lambda *facts: None),
    "progress by its recent rate": function(
        schedule_module, "predict_end", lambda at, progress, earlier: _predict_end(at, progress, None)
    ),
    "progress is trusted once it came true": function(schedule_module, "next_delay", never_trusted),
    "progress is not trusted before": function(schedule_module, "next_delay", always_trusted),
    "an early poll to extrapolate from": function(schedule_module, "_target", no_early_poll),
    "a limit to what trusted progress predicts": constants(_FURTHEST=1e9),
    "a limit to what new progress predicts": constants(_LEAP=1e9),
}


def measure() -> dict[str, Result]:
    return {name: run() for name, run in SCENARIOS.items()}


def shows(with_rule: float, without: float) -> float:
    return abs(without - with_rule) / max(with_rule, 0.01)


def main() -> None:
    base = measure()
    print("\nthe planner as it is (mean seconds late, polls per task)")
    for name, (late, polls) in base.items():
        print(f"  {name:<42} {late:7.3f} s {polls:6.2f} polls")
    goal("1,000 tasks of equal length: seconds late", base["1,000 of 2 s, busy client"][0], 0.15)
    goal("1,000 tasks of equal length: polls per task", base["1,000 of 2 s, busy client"][1], 2.5)
    goal("100 tasks of scattered length, warm: seconds late", base["100 of 2 s, warm"][0], 0.15)
    goal("100 tasks of scattered length, warm: polls per task", base["100 of 2 s, warm"][1], 4.5)
    for rule, patch in RULES.items():
        with patch():
            found = measure()
        changes = []
        for name, (late, polls) in found.items():
            before_late, before_polls = base[name]
            change = max(shows(before_late, late), shows(before_polls, polls))
            if change > SHOWS:
                text = f"{before_late:.3f} → {late:.3f} s late, {before_polls:.2f} → {polls:.2f} polls"
                changes.append((change, f"    {name:<42} {text}"))
        print(f"\nwithout: {rule} ({len(changes)} of {len(base)} scenarios change)")
        for _, line in sorted(changes, reverse=True)[:4]:
            print(line)


if __name__ == "__main__":
    prepare()
    main()
