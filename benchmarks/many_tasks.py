"""Many tasks in one asyncio client: how late it learns that they are finished, and how often it polls.

Lateness is the moment at which ``generate`` returns minus the moment at which the server's task was finished; both
processes read the same clock. The vendor's clients poll after 12 s, then every 4 s: their lateness follows from the
durations, so the benchmark computes it.
"""

from __future__ import annotations

import asyncio
import math
import statistics
import time
from dataclasses import dataclass
from typing import Any

from apimaster import AsyncAPIMaster

from .common import KEY, PROMPT, Server, goal, prepare


@dataclass
class Run:
    late: list[float]
    after_the_last: float
    polls: float
    cpu: float
    durations: list[float]


async def run(client: AsyncAPIMaster, server: Server, count: int, **settings: float) -> Run:
    """``count`` tasks at once, watched to their ends."""
    server.set(**settings)

    async def one() -> tuple[str | None, float, float]:
        begun = time.time()
        result = await client.generate(PROMPT, mode="async")
        return result.tasks[0].id, begun, time.time()

    cpu = time.process_time()
    seen = await asyncio.gather(*(one() for _ in range(count)))
    cpu = time.process_time() - cpu
    facts: Any = server.facts()
    finished = facts["finished"]
    late = [known - finished[task] for task, _, known in seen]
    durations = [finished[task] - begun for task, begun, _ in seen]
    last = max(finished.values())
    return Run(late, max(known for *_, known in seen) - last, facts["polls"] / count, cpu, durations)


def vendor_late(durations: list[float]) -> float:
    """Mean seconds by which looks at 12, 16, 20 … s come late."""
    return statistics.mean(12 + 4 * max(0, math.ceil((seconds - 12) / 4)) - seconds for seconds in durations)


def show(name: str, runs: list[Run]) -> tuple[float, float, float]:
    """Print the medians of several runs; returns mean lateness, polls per task, and the end after the last task."""
    late = statistics.median(statistics.mean(run.late) for run in runs)
    polls = statistics.median(run.polls for run in runs)
    end = statistics.median(run.after_the_last for run in runs)
    worst = statistics.median(max(run.late) for run in runs)
    cpu = statistics.median(run.cpu for run in runs)
    vendor = vendor_late(runs[0].durations)
    print(
        f"  {name:<50} late {late:6.3f} s on average, {worst:6.3f} s at most; {polls:5.2f} polls per task; "
        f"all known {end:6.3f} s after the last; CPU {cpu:5.2f} s; the vendor's schedule: {vendor:5.2f} s late",
        flush=True,
    )
    return late, polls, end


async def measure(server: Server, repeats: int) -> None:
    even = {"task_seconds": 2, "sigma": 0}
    scattered = {"task_seconds": 2, "sigma": 0.3}
    print("\nmany tasks in one client (medians of", repeats, "runs; cold: nothing known; warm: 100 tasks seen before)")

    async def repeat(count: int, *, warm: bool, **settings: float) -> list[Run]:
        runs = []
        for _ in range(repeats):
            async with AsyncAPIMaster(KEY, base_url=server.base_url) as client:
                if warm:
                    await run(client, server, 100, **settings)
                runs.append(await run(client, server, count, **settings))
        return runs

    for figures in (1, 0):
        name = "with progress figures" if figures else "without progress figures"
        late, polls, end = show(f"1,000 of 2 s, {name}, cold", await repeat(1000, warm=False, progress=figures, **even))
        goal(f"1,000 tasks of equal length, {name}: all known, seconds after the last", end, 1.0)
        goal(f"1,000 tasks of equal length, {name}: seconds late", late, 0.15)
        goal(f"1,000 tasks of equal length, {name}: polls per task", polls, 2.5)
    for figures, most_late, most_polls in ((0, 0.15, 4.5), (1, 0.05, 3.0)):
        name = "with progress figures" if figures else "without progress figures"
        for warm in (False, True):
            kind = "warm" if warm else "cold"
            runs = await repeat(100, warm=warm, progress=figures, **scattered)
            late, polls, _ = show(f"100 log-normal, {name}, {kind}", runs)
            if warm:  # durations are learned, so the goals are for a client that has seen some
                goal(f"100 tasks of scattered length, {name}: seconds late", late, most_late)
                goal(f"100 tasks of scattered length, {name}: polls per task", polls, most_polls)


def main(repeats: int = 3) -> None:
    with Server() as server:
        asyncio.run(measure(server, repeats))


if __name__ == "__main__":
    prepare()
    main()
