"""Running flows side by side: threads for the blocking driver, tasks for the asyncio one.

Both keep the same promises: at most ``limit`` at once, an APIMasterError of one flow is its outcome and does not
touch the others, and anything else (Ctrl-C, a cancelled task, a bug) stops them all.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Awaitable, Callable

from .errors import APIMasterError
from .operations import Flow, Together


class Stopped(BaseException):
    """A sibling was interrupted: unwinds a worker thread past every ``except Exception``."""


def in_threads(
    run: Callable[[Flow[object], threading.Event], object], operation: Together, stop: threading.Event
) -> list[object]:
    """Outcomes in order. Setting ``stop`` interrupts all flows at their next operation or in their sleep."""
    outcomes: list[object] = [None] * len(operation.flows)
    broken: list[BaseException] = []
    waiting, turn = iter(range(len(operation.flows))), threading.Lock()

    def work() -> None:
        while not stop.is_set():
            with turn:
                index = next(waiting, None)
            if index is None:
                return
            try:
                outcomes[index] = run(operation.flows[index], stop)
            except APIMasterError as error:
                outcomes[index] = error
            except BaseException as error:  # noqa: BLE001  # carried over to the calling thread
                broken.append(error)
                stop.set()

    # Each thread sees the caller's context variables (callbacks and traces rely on them); daemons, so that an
    # interrupted program can end while a call is still held open.
    threads = [
        threading.Thread(target=contextvars.copy_context().run, args=(work,), daemon=True, name="apimaster")
        for _ in range(min(operation.limit, len(operation.flows)))
    ]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except BaseException:
        stop.set()
        raise
    if broken:
        raise next((error for error in broken if not isinstance(error, Stopped)), broken[0])
    return outcomes


async def in_tasks(run: Callable[[Flow[object]], Awaitable[object]], operation: Together) -> list[object]:
    """Outcomes in order. Cancelling the caller cancels all flows and waits until they are gone."""
    gate = asyncio.Semaphore(operation.limit)

    async def one(flow: Flow[object]) -> object:
        async with gate:
            try:
                return await run(flow)
            except APIMasterError as error:
                return error

    tasks = [asyncio.ensure_future(one(flow)) for flow in operation.flows]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
