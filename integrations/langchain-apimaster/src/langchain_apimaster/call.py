"""What LangChain and LangGraph know about a tool call beyond its arguments.

``BaseTool.run`` passes ``_run`` neither the id of the tool call nor LangGraph's runtime. A tool can demand the id, but
then ``invoke`` with a bare string fails; it can demand the runtime, but then the runtime appears in the schema that
other frameworks read. So ``run`` notes both where it sees them, and a context variable carries them to ``_run``.
LangGraph learns from the signature of the tool's ``func`` that the tool wants the runtime.

A model can write anything into its arguments, so ``runtime`` counts only if it is an object that JSON can't hold.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import patch_config

RUNTIME: Final = "runtime"
_RETRY_TAG: Final = "retry:attempt:"
_JSON_TYPES: Final = (type(None), str, int, float, bool, dict, list)


@dataclass(frozen=True, slots=True)
class Caller:
    """What ``run`` received beside the arguments: the id of the tool call and LangGraph's runtime, if there are any."""

    call_id: str | None = None
    runtime: Any = None

    def messages(self) -> Sequence[Any] | None:
        """The conversation, or None where there is no graph with one."""
        state = getattr(self.runtime, "state", None)
        if isinstance(state, Mapping):
            state = state.get("messages")
        elif not isinstance(state, Sequence):
            state = getattr(state, "messages", None)
        return state if isinstance(state, Sequence) and not isinstance(state, str) else None


_UNKNOWN_CALLER: Final = Caller()
_caller: ContextVar[Caller | None] = ContextVar("apimaster_caller", default=None)


@contextmanager
def note_caller(tool_input: Any, call_id: str | None) -> Iterator[Any]:
    """Remember the caller for as long as ``run`` lasts; yields the input without what LangGraph injected into it."""
    runtime = None
    if isinstance(tool_input, dict) and RUNTIME in tool_input:
        tool_input = dict(tool_input)
        if not isinstance(tool_input[RUNTIME], _JSON_TYPES):
            runtime = tool_input.pop(RUNTIME)
    token = _caller.set(Caller(call_id, runtime))
    try:
        yield tool_input
    finally:
        _caller.reset(token)


@dataclass(frozen=True, slots=True)
class Call:
    """One run of a tool, as the flows see it.

    Attributes:
        tool: the tool's name.
        caller: the tool call's id and LangGraph's runtime, if there are any.
        config: for custom events, which belong to this run.
        has_listeners: whether any callback handler receives custom events.
        stream_writer: LangGraph's, or None.
        thread_id: LangGraph's, or None.
        parent_run_id: the run around this one, or None. All attempts of ``with_retry`` have the same one.
        is_retry: whether LangChain marked this run as a second attempt.
    """

    tool: str
    caller: Caller
    config: RunnableConfig | None = None
    has_listeners: bool = False
    stream_writer: Callable[[Any], object] | None = None
    thread_id: str | None = None
    parent_run_id: str | None = None
    is_retry: bool = False

    def replay_key(self, arguments: Mapping[str, Any]) -> str | None:
        """The same for every replay of this tool call; None for a call without an id.

        The id alone is not enough: some models count ``call_0``, ``call_1`` afresh in every conversation.
        """
        return None if self.caller.call_id is None else self._digest(self.caller.call_id, arguments)

    def retry_key(self, arguments: Mapping[str, Any]) -> str | None:
        """The same for every attempt of ``with_retry``; None for a call without a parent run."""
        return None if self.parent_run_id is None else self._digest(self.parent_run_id, arguments)

    def _digest(self, of: str, arguments: Mapping[str, Any]) -> str:
        facts = [self.tool, self.thread_id, of, arguments]
        text = json.dumps(facts, sort_keys=True, separators=(",", ":"), default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:40]


def current_call(tool: str, config: RunnableConfig | None, run_manager: Any) -> Call:
    """The facts about the run that is going on, be it alone, in a chain or in a graph."""
    caller = _caller.get() or _UNKNOWN_CALLER
    configurable = (config or {}).get("configurable") or {}
    thread = configurable.get("thread_id")
    thread_id = None if thread is None else str(thread)
    stream_writer = getattr(caller.runtime, "stream_writer", None) or _stream_writer_of_graph()
    if run_manager is None:
        return Call(tool, caller, stream_writer=stream_writer, thread_id=thread_id)
    parent = run_manager.parent_run_id
    return Call(
        tool,
        caller,
        config=patch_config(config, callbacks=run_manager.get_child()) if run_manager.handlers else None,
        has_listeners=bool(run_manager.handlers),
        stream_writer=stream_writer,
        thread_id=thread_id,
        parent_run_id=None if parent is None else str(parent),
        is_retry=any(tag.startswith(_RETRY_TAG) for tag in run_manager.tags),
    )


def _stream_writer_of_graph() -> Callable[[Any], object] | None:
    """The stream writer where a node's own code calls the tool, without LangGraph's ``ToolNode``."""
    langgraph = sys.modules.get("langgraph.config")
    if langgraph is None:
        return None
    try:
        writer: Callable[[Any], object] = langgraph.get_stream_writer()
    except (RuntimeError, KeyError, AttributeError):
        return None  # not inside a graph
    return writer
