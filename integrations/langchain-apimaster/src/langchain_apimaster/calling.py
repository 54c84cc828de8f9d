"""Who is calling: what LangChain and LangGraph know about a tool call beyond its arguments.

``BaseTool.run`` hands ``_run`` neither the id of the tool call (unless it is demanded, and then ``invoke`` with a bare
string fails) nor LangGraph's runtime (unless the schema that other frameworks read shows it). So both are taken where
``run`` sees them and carried in a context variable to ``_run``. LangGraph finds out that the runtime is wanted
from the signature of the tool's ``func``.

A model can write anything into its arguments, so ``runtime`` counts only if it is an object, which JSON can't hold.
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
    """What ``run`` was told beside the arguments."""

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


_NOBODY: Final = Caller()
_caller: ContextVar[Caller | None] = ContextVar("apimaster_caller", default=None)


@contextmanager
def called(tool_input: Any, call_id: str | None) -> Iterator[Any]:
    """Remember the caller for as long as ``run`` lasts; yields the input without what was injected into it."""
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


def current_caller() -> Caller:
    """The caller of the tool call that is running in this context."""
    return _caller.get() or _NOBODY


@dataclass(frozen=True, slots=True)
class Call:
    """One run of a tool, as the flows see it.

    Attributes:
        tool: the tool's name.
        caller: the tool call's id and LangGraph's runtime, if there are any.
        config: for custom events: they belong to this run.
        listeners: whether anybody hears custom events.
        writer: LangGraph's stream writer, or None.
        thread: LangGraph's thread, or None.
        attempt_of: the run of which this is a second attempt (``with_retry``) or could get one.
        is_retry: whether LangChain marked this run as a second attempt.
    """

    tool: str
    caller: Caller
    config: RunnableConfig | None = None
    listeners: bool = False
    writer: Callable[[Any], object] | None = None
    thread: str | None = None
    attempt_of: str | None = None
    is_retry: bool = False

    def key(self, arguments: Mapping[str, Any]) -> str | None:
        """What a replay of this very tool call has in common with it; None for a call without an id.

        The id alone is not enough: some models count ``call_0``, ``call_1`` afresh in every conversation.
        """
        return None if self.caller.call_id is None else self._digest(self.caller.call_id, arguments)

    def retry_key(self, arguments: Mapping[str, Any]) -> str | None:
        """The same for ``with_retry`` around a call without an id."""
        return None if self.attempt_of is None else self._digest(self.attempt_of, arguments)

    def _digest(self, of: str, arguments: Mapping[str, Any]) -> str:
        facts = [self.tool, self.thread, of, arguments]
        text = json.dumps(facts, sort_keys=True, separators=(",", ":"), default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:40]


def call_of(tool: str, config: RunnableConfig | None, run_manager: Any) -> Call:
    """Collect what there is to know, wherever the tool runs: alone, in a chain, in a graph."""
    caller = current_caller()
    configurable = (config or {}).get("configurable") or {}
    thread = configurable.get("thread_id")
    writer = getattr(caller.runtime, "stream_writer", None) or _writer_of_graph()
    if run_manager is None:
        return Call(tool, caller, writer=writer, thread=None if thread is None else str(thread))
    parent = run_manager.parent_run_id
    return Call(
        tool,
        caller,
        config=patch_config(config, callbacks=run_manager.get_child()) if run_manager.handlers else None,
        listeners=bool(run_manager.handlers),
        writer=writer,
        thread=None if thread is None else str(thread),
        attempt_of=None if parent is None else str(parent),
        is_retry=any(tag.startswith(_RETRY_TAG) for tag in run_manager.tags),
    )


def _writer_of_graph() -> Callable[[Any], object] | None:
    """The stream writer where a tool is called by a node's own code, without LangGraph's ``ToolNode``."""
    langgraph = sys.modules.get("langgraph.config")
    if langgraph is None:
        return None
    try:
        writer: Callable[[Any], object] = langgraph.get_stream_writer()
    except (RuntimeError, KeyError, AttributeError):
        return None  # not inside a graph
    return writer
