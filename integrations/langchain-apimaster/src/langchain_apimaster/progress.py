"""Progress: LangChain's custom events and LangGraph's stream, and the task id to the store before anybody waits.

Every step of every image becomes the same small JSON dict, under the name ``apimaster.progress``:
``stage``, ``image`` (from 1), ``of``, ``elapsed`` (seconds), ``percent``, ``task``, ``tool``, ``tool_call_id``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from langchain_core.callbacks import adispatch_custom_event, dispatch_custom_event

if TYPE_CHECKING:
    from apimaster import Progress, Task

    from .calling import Call

EVENT: Final = "apimaster.progress"
_log = logging.getLogger("langchain_apimaster")


class Reporter:
    """Listens to the client for one tool call.

    Args:
        call: who is to be told.
        on_task: called once per image, with its index and its task, before the wait for it begins; may block.
    """

    def __init__(self, call: Call, on_task: Callable[[int, Task], None] | None = None) -> None:
        self._call = call
        self._on_task = on_task
        self._known: set[int] = set()

    def tell(self, progress: Progress) -> None:
        """For a blocking client; may come from several threads, each with an image of its own."""
        if self._on_task is not None and self._is_new(progress) and progress.task is not None:
            self._on_task(progress.index, progress.task)
        if self._call.listeners:
            dispatch_custom_event(EVENT, self._facts(progress), config=self._call.config)
        self._stream(progress)

    async def atell(self, progress: Progress) -> None:
        """For an asyncio client."""
        if self._on_task is not None and self._is_new(progress) and progress.task is not None:
            await asyncio.to_thread(self._on_task, progress.index, progress.task)
        if self._call.listeners:
            await adispatch_custom_event(EVENT, self._facts(progress), config=self._call.config)
        self._stream(progress)

    def _is_new(self, progress: Progress) -> bool:
        if progress.task is None or not progress.task.id or progress.index in self._known:
            return False
        self._known.add(progress.index)
        return True

    def _stream(self, progress: Progress) -> None:
        if self._call.writer is not None:
            self._call.writer({"event": EVENT, **self._facts(progress)})

    def _facts(self, progress: Progress) -> dict[str, Any]:
        return {
            "tool": self._call.tool,
            "tool_call_id": self._call.caller.call_id,
            "stage": progress.stage,
            "image": progress.index + 1,
            "of": progress.total,
            "elapsed": round(progress.elapsed, 3),
            "percent": progress.percent,
            "task": progress.task.id if progress.task is not None and progress.task.id else None,
        }


def note_run(run_manager: Any, facts: dict[str, Any]) -> None:
    """Put ``facts`` into the metadata of the running run, where tracers find them when it ends.

    Callback managers copy metadata on their way to a tracer, so the tracer's own run is told as well.
    """
    if run_manager is None:
        return
    run_manager.metadata.update(facts)
    for handler in run_manager.handlers:
        run = (getattr(handler, "run_map", None) or {}).get(str(run_manager.run_id))
        if run is not None:
            try:
                run.extra.setdefault("metadata", {}).update(facts)
            except (AttributeError, TypeError):
                _log.debug("%s keeps no metadata", type(handler).__name__)
