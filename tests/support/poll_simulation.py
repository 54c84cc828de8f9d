"""Polls of many tasks, simulated: a heap of events, no clock and no sleeping.

``simulate`` drives ``TaskSchedule`` exactly as the polling flow does (nap, poll, take in the reply), with a fixed time
for each exchange and, if asked, one processor that serves one exchange after the other, as a busy client does. It can
also put a ``RateLimiter`` before the polls, and a gateway behind them that refuses some with 429.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from apimaster._flows.retry import RetryPolicy
from apimaster._polling.history import History
from apimaster._polling.rate_limit import RateLimiter
from apimaster._polling.schedule import TaskSchedule

KEY = ("some-model", "1K")
Figures = Callable[[float], float | None]


@dataclass
class Outcome:
    lateness: float
    worst: float
    polls: float
    behind: float  # from the end of the last job until all ends are known
    longest_step: float
    refused: float  # polls per task that got a 429


class Gateway(Protocol):
    """Which polls the gateway refuses with 429."""

    def refuses(self, now: float) -> bool:
        """Whether it refuses the poll that arrives now; called once for each poll."""

    def retry_after(self, now: float) -> float | None:
        """The ``Retry-After`` of a refusal that is sent now, in seconds."""


class PollsPerWindow:
    """A gateway that answers so many polls in each window of so many seconds.

    It tells the time until the next window, or nothing, or always the same number of seconds.
    """

    def __init__(self, polls: int, seconds: float = 1.0, *, tells: float | bool = False) -> None:
        self._polls = polls
        self._seconds = seconds
        self._tells = tells
        self._window = 0
        self._answered = 0

    def refuses(self, now: float) -> bool:
        window = int(now / self._seconds)
        if window != self._window:
            self._window, self._answered = window, 0
        self._answered += 1
        return self._answered > self._polls

    def retry_after(self, now: float) -> float | None:
        if isinstance(self._tells, bool):
            return (self._window + 1) * self._seconds - now if self._tells else None
        return self._tells


class RefusesFor:
    """A gateway that refuses every poll from one moment to another, or only the first of them."""

    def __init__(self, begin: float, end: float, *, tells: float | None = None, once: bool = False) -> None:
        self._begin = begin
        self._end = end
        self._tells = tells
        self._once = once

    def refuses(self, now: float) -> bool:
        refused = self._begin <= now < self._end
        if refused and self._once:
            self._end = now
        return refused

    def retry_after(self, now: float) -> float | None:
        return self._tells


def simulate(
    durations: Sequence[float],
    *,
    submitted_over: float = 0.0,
    progress: Figures | None = None,
    history: History | None = None,
    exchange: float = 0.006,
    processor: float = 0.0,
    rate_limiter: RateLimiter | None = None,
    gateway: Gateway | None = None,
    timeout: float = math.inf,
) -> Outcome:
    """Poll ``len(durations)`` tasks, submitted evenly over so many seconds, until all are known to have ended.

    A task that is refused pauses as in the flow, but is polled once its ``timeout`` is over.
    """
    history = history if history is not None else History()
    policy = RetryPolicy(dice=random.Random(1).random)
    events: list[tuple[float, int, str, int, float]] = []
    order = 0

    def at(when: float, what: str, task: int, sent: float = 0.0) -> None:
        nonlocal order
        order += 1
        heapq.heappush(events, (when, order, what, task, sent))

    begun = [submitted_over * task / len(durations) for task in range(len(durations))]
    for task, when in enumerate(begun):
        at(when, "submit", task)
    schedules: dict[int, TaskSchedule] = {}
    polls: list[list[float]] = [[0.0] for _ in durations]
    known_at = [0.0] * len(durations)
    earliest = [0.0] * len(durations)  # since the submit, as all ages
    faults = [0] * len(durations)
    refused = 0
    free = 0.0
    while events:
        now, _, what, task, sent = heapq.heappop(events)
        age = now - begun[task]
        if what == "submit":
            schedules[task] = TaskSchedule(history, KEY)
            at(now, "wake", task)
        elif what == "wake":
            rest = min(max(schedules[task].nap(age), earliest[task] - age), timeout - age)
            if rest > 1e-9:
                at(now + rest, "wake", task)
            elif rate_limiter is not None:
                at(now + rate_limiter.reserve(now), "poll", task)
            else:
                at(now, "poll", task)
        elif what == "poll":
            polls[task].append(age)
            free = max(now, free) + processor
            at(free + exchange / 2, "serve", task, age)
        elif what == "serve" and gateway is not None and gateway.refuses(now):
            refused += 1
            at(now + exchange / 2, "refused", task)
        elif what == "refused":
            assert gateway is not None
            asked = gateway.retry_after(now)
            if rate_limiter is not None:
                rate_limiter.slow_down(now, asked)
            faults[task] += 1
            earliest[task] = age + max(policy.backoff(faults[task]), asked or 0.0)
            at(now, "wake", task)
        elif what == "serve":
            faults[task] = 0
            done = age >= durations[task]
            figure = progress(min(age / durations[task], 1.0)) if progress else None
            at(now + exchange / 2, "finished" if done else "unfinished", task, sent)
            if not done:
                schedules[task].polled(sent, age + exchange / 2, done=False, progress=figure)
        elif what == "unfinished":
            at(now, "wake", task)
        else:
            schedules[task].polled(sent, age, done=True, progress=None)
            known_at[task] = now
    ends = [start + duration for start, duration in zip(begun, durations, strict=True)]
    late = [known - end for known, end in zip(known_at, ends, strict=True)]
    return Outcome(
        lateness=statistics.mean(late),
        worst=max(late),
        polls=statistics.mean(len(each) - 1 for each in polls),
        behind=max(known_at) - max(ends),
        longest_step=max(b - a for each in polls for a, b in itertools.pairwise(each)),
        refused=refused / len(durations),
    )


def scattered(count: int, seed: int, median: float = 2.0, sigma: float = 0.3) -> list[float]:
    chance = random.Random(seed)
    return [median * math.exp(chance.gauss(0.0, sigma)) for _ in range(count)]


def whole_percents(share: float) -> float:
    return float(int(100 * share))
