"""What each rule of the polling buys: every rule is taken away in turn, and the scenarios are simulated again.

Deterministic: simulated time, fixed seeds. For each rule it prints the scenarios that change by more than a tenth: the
mean seconds from a task's end until the client knows, polls per task, and how many of them the gateway refused. A rule
that changes nothing can go. The tables in ``apimaster/_polling/schedule.py`` and ``rate_limit.py`` come from here, with
the same names of rules and scenarios.
"""

from __future__ import annotations

import contextlib
import math
import statistics
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple
from unittest import mock

from apimaster._polling import history as history_module
from apimaster._polling import rate_limit as rate_limit_module
from apimaster._polling import schedule as schedule_module
from apimaster._polling.history import History
from apimaster._polling.rate_limit import RateLimiter

from .common import HERE, goal, prepare

sys.path.insert(0, str(HERE.parent / "tests" / "support"))
from poll_simulation import (
    Figures,
    Gateway,
    Outcome,
    PollsPerWindow,
    RefusesFor,
    scattered,
    simulate,
    whole_percents,
)

SEEDS = range(4)
SHOWS = 0.1  # of lateness, of polls or of refused polls
LEAST = 0.01  # figures below this are compared with this
Patch = Callable[[], contextlib.AbstractContextManager[object]]


class Result(NamedTuple):
    late: float  # seconds
    polls: float  # per task
    refused: float  # of these polls


Scenarios = Mapping[str, Callable[[], Result]]
Rules = Mapping[str, Patch]


def mean(outcomes: Iterable[Outcome]) -> Result:
    figures = [(each.lateness, each.polls, each.refused) for each in outcomes]
    return Result(*(statistics.mean(column) for column in zip(*figures, strict=True)))


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


def limited(count: int, median: float, gateway: Callable[[], Gateway], timeout: float = 600.0) -> Result:
    """Tasks of scattered length at once, nothing known, at a gateway that refuses polls."""
    return mean(
        simulate(
            scattered(count, seed, median),
            submitted_over=0.5,
            exchange=0.1,
            rate_limiter=RateLimiter(),
            gateway=gateway(),
            timeout=timeout,
        )
        for seed in SEEDS
    )


def rate_limited(count: int, *, warned: bool = False) -> Result:
    """Tasks of 2 s; warned: ten polls were sent a minute before, and one of them was refused."""
    outcomes = []
    for over in (0.5, 1.0):
        rate_limiter = RateLimiter()
        if warned:
            for poll in range(10):
                rate_limiter.reserve(-61.0 + poll / 10)
            rate_limiter.slow_down(-60.0)
        outcomes.append(simulate([2.0] * count, submitted_over=over, exchange=0.1, rate_limiter=rate_limiter))
    return mean(outcomes)


def stuck(share: float) -> float:
    return 50.0


def stops_at_99(share: float) -> float:
    return min(99.0, float(int(130 * share)))


SCENARIOS: Scenarios = {
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

# "told": with a Retry-After that is right, unless it says otherwise.
LIMITED: Scenarios = {
    "1,000 of 2 s": lambda: rate_limited(1000),
    "5,000 of 2 s": lambda: rate_limited(5000),
    "1,000 of 2 s, a minute after a 429": lambda: rate_limited(1000, warned=True),
    "1,000 of 2 s, 500/s": lambda: limited(1000, 2.0, lambda: PollsPerWindow(500)),
    "1,000 of 2 s, 500/s, told": lambda: limited(1000, 2.0, lambda: PollsPerWindow(500, tells=True)),
    "1,000 of 2 s, 500/s, told 1 s": lambda: limited(1000, 2.0, lambda: PollsPerWindow(500, tells=1.0)),
    "1,000 of 19 s, 100/s": lambda: limited(1000, 19.0, lambda: PollsPerWindow(100)),
    "1,000 of 19 s, 100/s, told": lambda: limited(1000, 19.0, lambda: PollsPerWindow(100, tells=True)),
    "100 of 19 s, 10/s": lambda: limited(100, 19.0, lambda: PollsPerWindow(10)),
    "100 of 19 s, 10/s, told": lambda: limited(100, 19.0, lambda: PollsPerWindow(10, tells=True)),
    "100 of 19 s, 300/min": lambda: limited(100, 19.0, lambda: PollsPerWindow(300, 60.0)),
    "100 of 19 s, 300/min, told": lambda: limited(100, 19.0, lambda: PollsPerWindow(300, 60.0, tells=True)),
    "100 of 19 s, one 429": lambda: limited(100, 19.0, lambda: RefusesFor(10.0, 60.0, once=True)),
    "100 of 19 s, one 429, told an hour": lambda: limited(
        100, 19.0, lambda: RefusesFor(10.0, 60.0, once=True, tells=3600.0)
    ),
    "100 of 19 s, refused for 5 s, told": lambda: limited(100, 19.0, lambda: RefusesFor(5.0, 10.0, tells=5.0)),
    "100 of 60 s, refused for 10 s": lambda: limited(100, 60.0, lambda: RefusesFor(20.0, 30.0)),
    "10 of 60 s, refused for 30 s": lambda: limited(10, 60.0, lambda: RefusesFor(5.0, 35.0)),
}


def constants(**values: object) -> Patch:
    """With other constants, in whichever of the three modules they are."""

    @contextlib.contextmanager
    def patched() -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for name, value in values.items():
                modules = (history_module, rate_limit_module)
                module = next((module for module in modules if hasattr(module, name)), schedule_module)
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


_observe = History.observe
_next_delay = schedule_module.next_delay
_predict_end = schedule_module.predict_end
_target = schedule_module._target
_reserve = RateLimiter.reserve
_slow_down = RateLimiter.slow_down


def observe_together(self: History, key: history_module.Key, lower: float, upper: float) -> None:
    _observe(self, key, max(lower, 1e-9), upper)


def never_trusted(elapsed: float, **options: Any) -> float:
    return _next_delay(elapsed, **{**options, "trusted": None})


def always_trusted(elapsed: float, **options: Any) -> float:
    return _next_delay(elapsed, **{**options, "trusted": True})


def no_early_poll(*arguments: Any, trusted: bool) -> float:
    last, end = arguments[:2]
    return _target(*arguments, trusted=trusted and not (last == 0.0 and end is None))


def counted_when_reserved(self: RateLimiter, now: float) -> float:
    measured = self._measured_at(now)
    wait = _reserve(self, now)
    self._measured, self._last = measured + 1.0 / rate_limit_module._MEMORY, now
    return wait


def never_slower(self: RateLimiter, now: float, retry_after: float | None = None) -> None:
    pass


def without_hold(self: RateLimiter, now: float, retry_after: float | None = None) -> None:
    _slow_down(self, now)


RULES: Rules = {
    "a place for each task": function(History, "place", lambda self, key: 0.5),
    "scouts": function(History, "place", without_scouts),
    "early scouts once durations are known": constants(_EARLIEST_SCOUT=1.0),
    "naps": function(schedule_module.TaskSchedule, "nap", schedule_module.TaskSchedule.delay),
    "blind polls by habit, not geometric": constants(_BLIND_POLLS=geometric()),
    "two blind moments for scouts only": constants(_FOR_SCOUTS_ONLY=0),
    "a shortest blind step": constants(_SHORTEST_BLIND_STEP=0.0),
    "first polls spread over half a step": constants(_SPREAD=0.0),
    "innermost intervals, not middles": function(history_module, "_durations", middles),
    "128 durations, not 32": constants(_ENCLOSED_KEPT=32),
    "bounded intervals kept": constants(_BOUNDED_KEPT=0),
    "bounded intervals kept apart": function(History, "observe", observe_together),
    "longer steps for the slowest": constants(_OUTLIVED_STEP=0.0),
    "progress": function(schedule_module, "predict_end", lambda *facts: None),
    "its recent rate, not the mean": function(
        schedule_module, "predict_end", lambda at, progress, earlier: _predict_end(at, progress, None)
    ),
    "trust once it came true": function(schedule_module, "next_delay", never_trusted),
    "it came true if a tenth late": constants(_CAME_TRUE=1.0),
    "no trust before": function(schedule_module, "next_delay", always_trusted),
    "an early poll to extrapolate from": function(schedule_module, "_target", no_early_poll),
    "no such poll if durations are alike": constants(_ALL_ALIKE=0.0),
    "a limit to trusted progress": constants(_FURTHEST=1e9),
    "a limit to new progress": constants(_LEAP=1e9),
}

LIMITER_RULES: Rules = {
    "a limit to the polls of a client": constants(DEFAULT_POLLS_PER_SECOND=1e9),
    "5,000 per second, not 1,000": constants(DEFAULT_POLLS_PER_SECOND=1000.0),
    "a slower rate after a 429": function(RateLimiter, "slow_down", never_slower),
    "half the measured rate, not the limit": function(RateLimiter, "_measured_at", lambda self, now: math.inf),
    "polls count when sent, not reserved": function(RateLimiter, "reserve", counted_when_reserved),
    "refusals within 1 s are one": constants(_ECHO=0.0),
    "5 s before the rate grows again": constants(_QUIET=0.0),
    "growth": constants(_DOUBLING=math.inf),
    "growth by doubling, not at once": constants(_DOUBLING=1e-9),
    "a slowest rate": constants(_SLOWEST_RATE=0.001),
    "Retry-After holds all polls": function(RateLimiter, "slow_down", without_hold),
    "a longest hold": constants(_LONGEST_HOLD=math.inf),
}


def measure(scenarios: Scenarios) -> dict[str, Result]:
    return {name: run() for name, run in scenarios.items()}


def change(with_rule: Result, without: Result) -> float:
    """The largest relative change of a figure."""
    return max(abs(b - a) / max(a, LEAST) for a, b in zip(with_rule, without, strict=True))


def show(title: str, base: Mapping[str, Result]) -> None:
    print(f"\n{title} (mean seconds late, polls per task, refused ones)")
    for name, (late, polls, refused) in base.items():
        print(f"  {name:<42} {late:7.3f} s {polls:6.2f} polls {refused:6.2f} refused")


def take_away(rules: Rules, scenarios: Scenarios, base: Mapping[str, Result]) -> None:
    """Print what changes without each of the rules."""
    for rule, patch in rules.items():
        with patch():
            found = measure(scenarios)
        changes = sorted(((change(base[name], result), name) for name, result in found.items()), reverse=True)
        changes = [(size, name) for size, name in changes if size > SHOWS]
        print(f"\nwithout: {rule} ({len(changes)} of {len(base)} scenarios change)")
        for _, name in changes[:5]:
            late, polls, refused = (f"{a:.3g} → {b:.3g}" for a, b in zip(base[name], found[name], strict=True))
            print(f"    {name:<42} {late} s late, {polls} polls, {refused} refused")


def main() -> None:
    base = measure(SCENARIOS)
    show("the planner as it is", base)
    goal("1,000 tasks of equal length: seconds late", base["1,000 of 2 s, busy client"].late, 0.15)
    goal("1,000 tasks of equal length: polls per task", base["1,000 of 2 s, busy client"].polls, 2.5)
    goal("100 tasks of scattered length, warm: seconds late", base["100 of 2 s, warm"].late, 0.15)
    goal("100 tasks of scattered length, warm: polls per task", base["100 of 2 s, warm"].polls, 4.5)
    take_away(RULES, SCENARIOS, base)
    base = measure(LIMITED)
    show("the rate limiter as it is", base)
    take_away(LIMITER_RULES, LIMITED, base)


if __name__ == "__main__":
    prepare()
    main()
