"""Work that goes on when its caller has gone: a picture that is paid for is collected all the same."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

T = TypeVar("T")
_log = logging.getLogger("litellm_apimaster")
# The event loop keeps only weak references to its tasks.
_tasks: Final[set[asyncio.Task[Any]]] = set()


async def run_shielded(work: Coroutine[Any, Any, T], *, on_leave: Callable[[], None]) -> T:
    """Await ``work`` in a task of its own, which goes on if this call is cancelled; ``on_leave`` is called then.

    It is called even if the work has just ended: nobody gets its result.

    When the event loop ends, it cancels such tasks, too.
    """
    task = asyncio.create_task(work)
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        task.add_done_callback(_log_outcome)
        on_leave()
        raise


def _log_outcome(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.warning("a call whose caller had gone away failed: %s", error)
