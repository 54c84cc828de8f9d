"""Waiting by webhook: how soon a delivery is known, and how often tasks are polled, beside polling in the same run.

The server (a process of its own) posts a signed event when a task has ended, over kept-alive connections, to a
receiver in this process: the waiter's ASGI application, on uvicorn, in a thread. So the client shares its core and
its interpreter with the receiver, as in a web application.

Lateness by webhook is the moment at which ``generate`` returns minus the moment at which the server sent the event;
by polling it is counted from the end of the task. All processes read the same clock.

    python -m benchmarks webhooks                  1,000 tasks
    python -m benchmarks.webhooks --count 10000    as many as you like
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from dataclasses import dataclass
from typing import Any

from apimaster import AsyncAPIMaster
from apimaster.emulator.server import Server as AsgiServer
from apimaster.emulator.server import listen
from apimaster.webhooks import WebhookWaiter

from .common import KEY, PROMPT, Server, goal, prepare

SECRET = "whsec-benchmark"


@dataclass
class Run:
    late: list[float]
    polls: float
    cpu: float


async def run(client: AsyncAPIMaster, server: Server, count: int, *, by_webhook: bool, port: int) -> Run:
    """``count`` tasks at once, watched to their ends."""
    server.set(task_seconds=4, sigma=0.3, progress=0, webhook_port=port if by_webhook else 0)

    async def one() -> tuple[str | None, float]:
        result = await client.generate(PROMPT, mode="async", timeout=600)
        return result.tasks[0].id, time.time()

    cpu = time.process_time()
    seen = await asyncio.gather(*(one() for _ in range(count)))
    cpu = time.process_time() - cpu
    facts: Any = server.facts()
    moments = facts["sent"] if by_webhook else facts["finished"]
    late = [known - moments[task] for task, known in seen if task in moments]
    return Run(late, facts.get("polls", 0) / count, cpu / count)


def show(name: str, runs: list[Run]) -> tuple[float, float]:
    """Print the medians of several runs; returns mean lateness and polls per task."""
    late = statistics.median(statistics.mean(each.late) for each in runs)
    worst = statistics.median(sorted(each.late)[int(len(each.late) * 0.99)] for each in runs)
    polls = statistics.median(each.polls for each in runs)
    cpu = statistics.median(each.cpu for each in runs)
    print(
        f"  {name:<12} late {late:6.3f} s on average, 99 % within {worst:6.3f} s; {polls:5.3f} polls per task; "
        f"CPU {cpu * 1e3:5.2f} ms per task",
        flush=True,
    )
    return late, polls


async def measure(server: Server, waiter: WebhookWaiter, port: int, count: int, repeats: int) -> None:
    print(f"\n{count:,} tasks at once, log-normal around 4 s (medians of {repeats} runs, one way after the other)")
    runs: dict[bool, list[Run]] = {True: [], False: []}
    for _ in range(repeats):
        for by_webhook in (True, False):
            async with AsyncAPIMaster(
                KEY, base_url=server.base_url, webhook_waiter=waiter if by_webhook else None
            ) as client:
                runs[by_webhook].append(await run(client, server, count, by_webhook=by_webhook, port=port))
    late, polls = show("by webhook", runs[True])
    polled_late, polled = show("by polling", runs[False])
    cpu = statistics.median(a.cpu / b.cpu for a, b in zip(runs[True], runs[False], strict=True))
    print(f"  webhook to polling: lateness × {late / polled_late:.2f}, polls × {polls / polled:.3f}, CPU × {cpu:.2f}")
    goal(f"{count:,} tasks by webhook: seconds late after the delivery", late, 0.05)
    goal(f"{count:,} tasks by webhook: polls per task", polls, 0.2)


def main(count: int = 1000, repeats: int = 3) -> None:
    waiter = WebhookWaiter(SECRET, endpoint_id="whep_benchmark", keep=100_000)
    socket = listen("127.0.0.1", 0)
    port = socket.getsockname()[1]
    receiver = AsgiServer(waiter.asgi, [socket])
    receiver.start()
    try:
        with Server() as server:
            asyncio.run(measure(server, waiter, port, count, repeats))
    finally:
        receiver.stop()


if __name__ == "__main__":
    prepare()
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--count", type=int, default=1000)
    arguments.add_argument("--repeats", type=int, default=3)
    main(**vars(arguments.parse_args()))
