"""Where in the history of a thread a tool call is made, as LangGraph's checkpoints tell it.

A message that is not in the state may have been trimmed, or it belongs to another history: before an edited message, in
another fork, or in an earlier conversation under the same thread id. The messages alone can't tell. Where the graph has
a checkpointer, its checkpoints can, in two ways:

- The steps of a history are counted up. What was seen first in this step or a later one, and is not in the state,
  belongs to another history.
- A run that leaves a history begins at a checkpoint which the application names. What was seen at a checkpoint that is
  none of its ancestors belongs to another history, if the checkpointer holds both. With ``durability="exit"`` most
  checkpoints are never stored, others are pruned, and some checkpointers keep the newest only.

What neither proves may belong to this one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

_CHECKPOINTER: Final = "__pregel_checkpointer"
_MAX_LOOKED_UP: Final = 50  # each may be as large as the conversation


@dataclass(frozen=True, slots=True)
class Moment:
    """When something was seen. -1 and empty strings stand for what is not known.

    Attributes:
        step: LangGraph's number of the step, in a graph that is not within another one.
        checkpoint: the checkpoint on which the step builds. The ids of checkpoints sort by time.
        begun_at: the checkpoint at which the application began the run, if it named one.
    """

    step: int = -1
    checkpoint: str = ""
    begun_at: str = ""


NEVER: Final = Moment()
"""A moment of which nothing is known."""


@dataclass(frozen=True, slots=True)
class History:
    """The history that a tool call continues.

    Attributes:
        now: the moment of the call.
        thread_id: the thread, as the checkpointer knows it.
        checkpointer: which knows the ancestors of checkpoints, or None.
    """

    now: Moment = NEVER
    thread_id: Any = None
    checkpointer: Any = None

    def others(self, seen: Iterable[Moment]) -> set[Moment]:
        """Those moments, of what is not in the state, that surely belong to another history. Blocks."""
        now = self.now
        if self.checkpointer is None:
            return set()
        found = {each for each in seen if -1 < now.step <= each.step}
        rest = {each for each in seen if each.checkpoint and each.begun_at != now.begun_at} - found
        if not now.begun_at or not rest:
            return found
        if _in_event_loop():
            return found  # an asyncio checkpointer would wait for the loop, and the loop for it
        own = self._ancestors(min(each.checkpoint for each in rest))
        # What is older than the oldest ancestor that was found may be an ancestor, too.
        apart = {each.checkpoint for each in rest if own and each.checkpoint > own[-1]} - set(own)
        held = {each for each in sorted(apart, reverse=True)[:_MAX_LOOKED_UP] if self._parent(each) is not None}
        return found | {each for each in rest if each.checkpoint in held}

    def _ancestors(self, until: str) -> list[str]:
        """The checkpoint at which the run began, and its ancestors: newest first, "" after the first of the thread.

        Nothing if the checkpointer does not hold that checkpoint.
        """
        found: list[str] = []
        following: str | None = self.now.begun_at
        while following and len(found) < _MAX_LOOKED_UP:
            parent = self._parent(following)
            if parent is not None or found:
                found.append(following)  # the last one may be missing: its child names it
            following = parent if found[-1:] > [until] else None
        return [*found, ""] if following == "" else found

    def _parent(self, checkpoint: str) -> str | None:
        """The checkpoint before this one, "" for the first of the thread; None if the checkpointer does not hold it."""
        place = {"thread_id": self.thread_id, "checkpoint_ns": "", "checkpoint_id": checkpoint}
        try:
            found = self.checkpointer.get_tuple({"configurable": place})
            if str(found.checkpoint["id"]) != checkpoint:
                return None  # some checkpointers keep the newest only, and give it whatever they are asked for
            parent = found.parent_config
            return "" if parent is None else str(parent["configurable"]["checkpoint_id"])
        except Exception:  # noqa: BLE001 -- the application's own; it may have removed it, or not allow this here
            return None


UNKNOWN: Final = History()


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def history_of(config: Mapping[str, Any] | None) -> History:
    """The history that a call with this configuration continues; outside of LangGraph nothing is known of it."""
    configurable = (config or {}).get("configurable") or {}
    metadata = (config or {}).get("metadata") or {}
    checkpointer = configurable.get(_CHECKPOINTER)
    checkpoints = configurable.get("checkpoint_map")
    step = metadata.get("langgraph_step")
    is_whole = "|" not in str(configurable.get("checkpoint_ns") or "")  # a graph within another counts its own steps
    return History(
        Moment(
            step=step if isinstance(step, int) and is_whole else -1,
            checkpoint=str(checkpoints.get("") or "") if isinstance(checkpoints, Mapping) else "",
            begun_at=str(metadata.get("checkpoint_id") or ""),
        ),
        configurable.get("thread_id"),
        checkpointer if callable(getattr(checkpointer, "get_tuple", None)) else None,
    )
