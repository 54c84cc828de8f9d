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
from dataclasses import dataclass, replace
from typing import Any, Final

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import patch_config

from .history import UNKNOWN, History, history_of

RUNTIME: Final = "runtime"
_PUSH: Final = "__pregel_push"
_RETRY_TAG: Final = "retry:attempt:"
_JSON_TYPES: Final = (type(None), str, int, float, bool, dict, list)


@dataclass(frozen=True, slots=True)
class Caller:
    """What ``run`` received: the id of the tool call and LangGraph's runtime, if there are any, and the arguments."""

    call_id: str | None = None
    runtime: Any = None
    arguments: Any = None

    def messages(self) -> Sequence[Any] | None:
        """The conversation, or None where there is no graph with one."""
        state = getattr(self.runtime, "state", None)
        if isinstance(state, Mapping):
            state = state.get("messages")
        elif not isinstance(state, Sequence):
            state = getattr(state, "messages", None)
        return state if isinstance(state, Sequence) and not isinstance(state, str) else None

    def message(self) -> Any:
        """The assistant message that holds this call, or None where the conversation is not visible."""
        for message in reversed(self.messages() or ()) if self.call_id else ():
            if any(call.get("id") == self.call_id for call in getattr(message, "tool_calls", None) or ()):
                return message
        return None

    def answered(self) -> frozenset[str]:
        """The ids of the tool calls of that message that have an answer: models count ids afresh, so no older one."""
        found: set[str] = set()
        for message in reversed(self.messages() or ()):
            if getattr(message, "tool_calls", None):
                break
            found.add(getattr(message, "tool_call_id", ""))
        return frozenset(found)


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
    token = _caller.set(Caller(call_id, runtime, tool_input))
    try:
        yield tool_input
    finally:
        _caller.reset(token)


def in_run() -> bool:
    """Whether this is called from within a tool's ``run``, and not by a host that calls ``_run`` itself."""
    return _caller.get() is not None


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
        history: that of the thread which this call continues.
        message_id: of the assistant message that holds the call, or None where the conversation is not visible.
        message_calls: all calls of that message, this one included.
        namesakes: how many of them have the id of this one, itself included.
        equal_calls: how many of them also have its arguments.
        dispatch: the place of this call among those that LangGraph dispatched one by one, or None.
        idempotency_key: the application's own, or None.
        fresh: what the application set to buy on purpose what it has bought already, or None.
        parent_run_id: the run around this one, or None. All attempts of ``with_retry`` have the same one.
        is_retry: whether LangChain marked this run as a second attempt.
    """

    tool: str
    caller: Caller
    config: RunnableConfig | None = None
    has_listeners: bool = False
    stream_writer: Callable[[Any], object] | None = None
    thread_id: str | None = None
    history: History = UNKNOWN
    message_id: str | None = None
    message_calls: tuple[Mapping[str, Any], ...] = ()
    namesakes: int = 1
    equal_calls: int = 1
    dispatch: int | None = None
    idempotency_key: str | None = None
    fresh: str | None = None
    parent_run_id: str | None = None
    is_retry: bool = False

    @property
    def identity(self) -> tuple[str | None, ...] | None:
        """Everything by which this call is known, whoever makes it again; None if it is not known well enough.

        A key of the application's stands alone, so here it is only for purchases of versions that did not know that.
        The id of the tool call alone is not enough: some models count ``call_0``, ``call_1`` in each conversation.
        """
        call_id = self.caller.call_id or None
        is_placed = self.thread_id is not None or self.message_id is not None
        if self.idempotency_key is None and not (call_id and is_placed):
            return None
        return (self.thread_id, self.message_id, call_id, self.idempotency_key, self.fresh)

    def old_key(self, arguments: Mapping[str, Any]) -> str | None:
        """The key that versions before the ledger gave this call; None if it can't have one."""
        if self.thread_id is None or not self.caller.call_id or self.fresh is not None:
            return None  # without a thread, those versions took different calls for the same
        facts = [self.tool, self.thread_id, self.caller.call_id, arguments]
        text = json.dumps(facts, sort_keys=True, separators=(",", ":"), default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:40]


def current_call(tool: str, config: RunnableConfig | None, run_manager: Any) -> Call:
    """The facts about the run that is going on, be it alone, in a chain or in a graph."""
    caller = _caller.get() or _UNKNOWN_CALLER
    configurable = (config or {}).get("configurable") or {}
    message = caller.message()
    namesakes = [] if message is None else [each for each in message.tool_calls if each.get("id") == caller.call_id]
    equal = [each for each in namesakes if (each.get("name"), each.get("args")) == (tool, caller.arguments)]
    call = Call(
        tool,
        caller,
        stream_writer=getattr(caller.runtime, "stream_writer", None) or _stream_writer_of_graph(),
        thread_id=_text(configurable.get("thread_id")),
        history=history_of(config),
        message_id=_text(getattr(message, "id", None)),
        message_calls=() if message is None else tuple(message.tool_calls),
        namesakes=len(namesakes),
        equal_calls=len(equal),
        dispatch=_dispatch((config or {}).get("metadata") or {}),
        idempotency_key=_text(configurable.get("idempotency_key")),
        fresh=_text(configurable.get("apimaster_fresh")),
    )
    if run_manager is None:
        return call
    parent = run_manager.parent_run_id
    return replace(
        call,
        config=patch_config(config, callbacks=run_manager.get_child()) if run_manager.handlers else None,
        has_listeners=bool(run_manager.handlers),
        parent_run_id=None if parent is None else str(parent),
        is_retry=any(tag.startswith(_RETRY_TAG) for tag in run_manager.tags),
    )


def _text(value: Any) -> str | None:
    """An id of the application's; one that is empty or blank is none."""
    return None if value is None or not str(value).strip() else str(value)


def _dispatch(metadata: Mapping[str, Any]) -> int | None:
    """The place of this call among those that LangGraph dispatched one by one: the same on resume and time travel."""
    path = metadata.get("langgraph_path")
    if isinstance(path, Sequence) and len(path) > 1 and path[0] == _PUSH and isinstance(path[1], int):
        return path[1]
    return None


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
