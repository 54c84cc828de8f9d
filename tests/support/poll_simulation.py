"""Polls of many tasks, simulated: a heap of events, no clock and no sleeping.

``simulate`` drives ``TaskSchedule`` exactly as the polling flow does (nap, poll, take in the reply), with a fixed time
for each exchange and, if asked, one processor that serves one exchange after the other, as a busy client does.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from apimaster._polling.history import History
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


def simulate(
    durations: Sequence[float],
    *,
    submitted_over: float = 0.0,
    progress: Figures | None = None,
    history: History | None = None,
    exchange: float = 0.006,
    processor: float = 0.0,
) -> Outcome:
    """Poll ``len(durations)`` tasks, submitted evenly over so many seconds, until all are known to have ended."""
    history = history if history is not None else History()
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
    free = 0.0
    while events:
        now, _, what, task, sent = heapq.heappop(events)
        age = now - begun[task]
        if what == "submit":
            schedules[task] = TaskSchedule(history, KEY)
            at(now, "wake", task)
        elif what == "wake":
            nap = schedules[task].nap(age)
            if nap > 1e-9:
                at(now + nap, "wake", task)
            else:
                polls[task].append(age)
                free = max(now, free) + processor
                at(free + exchange / 2, "serve", task, age)
        elif what == "serve":
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
    )


def scattered(count: int, seed: int, median: float = 2.0, sigma: float = 0.3) -> list[float]:
    chance = random.Random(seed)
    return [median * math.exp(chance.gauss(0.0, sigma)) for _ in range(count)]


def whole_percents(share: float) -> float:
    return float(int(100 * share))
