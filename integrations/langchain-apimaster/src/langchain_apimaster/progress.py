"""Progress of a tool call, as LangChain's custom events and in LangGraph's stream.

Each step of each image becomes a small JSON dict under the name ``apimaster.progress``, with the keys ``stage``,
``image`` (from 1), ``of``, ``elapsed`` (seconds), ``percent``, ``task``, ``tool`` and ``tool_call_id``.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from langchain_core.callbacks import adispatch_custom_event, dispatch_custom_event

if TYPE_CHECKING:
    from apimaster import Progress

    from .call import Call

EVENT: Final = "apimaster.progress"
_log = logging.getLogger("langchain_apimaster")


class ProgressReporter:
    """Passes on what the client reports about one tool call.

    Attributes:
        has_task: whether this call has got a task from the gateway.
    """

    def __init__(self, call: Call) -> None:
        self._call = call
        self.has_task = False

    def report(self, progress: Progress) -> None:
        """For a blocking client, which may call it from several threads, one per image."""
        self._note(progress)
        if self._call.has_listeners:
            dispatch_custom_event(EVENT, self._facts(progress), config=self._call.config)
        self._stream(progress)

    async def areport(self, progress: Progress) -> None:
        """For an asyncio client."""
        self._note(progress)
        if self._call.has_listeners:
            await adispatch_custom_event(EVENT, self._facts(progress), config=self._call.config)
        self._stream(progress)

    def _note(self, progress: Progress) -> None:
        if progress.task is not None and progress.task.id:
            self.has_task = True

    def _stream(self, progress: Progress) -> None:
        if self._call.stream_writer is not None:
            self._call.stream_writer({"event": EVENT, **self._facts(progress)})

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


def add_run_metadata(run_manager: Any, facts: dict[str, Any]) -> None:
    """Add ``facts`` to the metadata of the current run, where tracers find them when the run ends.

    Callback managers pass tracers a copy of the metadata, so the tracer's own run gets the facts too.
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
