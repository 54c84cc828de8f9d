"""LangGraph makes one tool call twice: after an interrupt, in the past, or while the first one is at work.

The checkpoints are in SQLite, each graph is built anew as a process after a restart would do it, and the emulator's
bill says what was charged.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, Send, interrupt

from apimaster.emulator import Emulator

CAT = {"name": "generate_image", "args": {"prompt": "a cat"}, "id": "call_0"}
DOG = {"name": "generate_image", "args": {"prompt": "a dog"}, "id": "call_1"}
TASK = {"name": "submit_image", "args": {"prompt": "a bird"}, "id": "call_2"}
ASK = {"name": "ask", "args": {"question": "Is it good?"}, "id": "call_3"}
DRAW = [HumanMessage("Draw", id="h1"), AIMessage("", tool_calls=[CAT, DOG, TASK, ASK], id="ai1")]
PLACES: list[dict[str, Any]] = [{"thread_id": "one"}, {"thread_id": "one", "idempotency_key": "order-17"}]

Build = Callable[..., Any]


@tool
def ask(question: str) -> str:
    """Ask the user."""
    return str(interrupt(question))


def tool_node(tools: Any, saver: Any, **_: Any) -> Any:
    """All calls of a message in one node: after an interrupt it runs from its beginning."""
    graph = StateGraph(MessagesState).add_node("tools", ToolNode([*tools, ask])).add_edge(START, "tools")
    return graph.compile(checkpointer=saver)


def sends(tools: Any, saver: Any, **_: Any) -> Any:
    """Each call is dispatched by itself: LangGraph keeps the answer to one while another waits."""

    def dispatch(state: MessagesState) -> list[Send]:
        return [Send("tools", [call]) for call in state["messages"][-1].tool_calls]  # type: ignore[union-attr]

    graph = StateGraph(MessagesState).add_node("tools", ToolNode([*tools, ask]))
    return graph.add_conditional_edges(START, dispatch, ["tools"]).compile(checkpointer=saver)


def own_node(tools: Any, saver: Any, **_: Any) -> Any:
    """A node that asks after it has called the tools itself."""
    by_name = {each.name: each for each in tools}

    def draw(state: MessagesState) -> dict[str, Any]:
        calls = [call for call in state["messages"][-1].tool_calls if call["name"] in by_name]  # type: ignore[union-attr]
        found = [by_name[call["name"]].invoke({**call, "type": "tool_call"}) for call in calls]
        return {"messages": [*found, ToolMessage(str(interrupt("Is it good?")), tool_call_id="call_3", name="ask")]}

    return StateGraph(MessagesState).add_node("tools", draw).add_edge(START, "tools").compile(checkpointer=saver)


GRAPHS = pytest.mark.parametrize("graph", [tool_node, sends, own_node])


@pytest.fixture
def build(make_toolkit: Any, tmp_path: Path) -> Iterator[Build]:
    """A graph with tools and checkpoints of its own, as a new process has them: ``build(graph)``."""
    opened = []

    def make(graph: Any, **options: Any) -> Any:
        context = SqliteSaver.from_conn_string(str(tmp_path / "threads.db"))
        opened.append(context)
        return graph(make_toolkit(**options).get_tools(), context.__enter__())

    yield make
    for context in opened:
        context.__exit__(None, None, None)


def answers(state: Any) -> dict[str, Any]:
    """What each tool call has brought: the ids of pictures and tasks."""
    found = [message for message in state["messages"] if isinstance(message, ToolMessage)]
    assert all(message.status == "success" for message in found), found
    return {
        message.tool_call_id: [*(image["id"] for image in message.artifact["images"]), *message.artifact["tasks"]]
        for message in found
        if message.artifact is not None
    }


def bought(emulator: Any) -> list[str]:
    assert len(emulator.bill.charges) == len(emulator.jobs)
    return sorted(job.request.prompt for job in emulator.jobs)


@GRAPHS
@pytest.mark.parametrize("configurable", PLACES)
def test_resumed_after_an_interrupt(graph: Any, configurable: Any, emu: Any, build: Build) -> None:
    config = {"configurable": configurable}
    stopped = build(graph).invoke({"messages": DRAW}, config)
    assert stopped["__interrupt__"][0].value == "Is it good?"
    assert bought(emu) == ["a bird", "a cat", "a dog"], "before the user has answered"
    resumed = answers(build(graph).invoke(Command(resume="yes"), config))
    assert set(resumed) == {"call_0", "call_1", "call_2"}
    assert bought(emu) == ["a bird", "a cat", "a dog"]


@GRAPHS
@pytest.mark.parametrize("configurable", PLACES)
def test_time_travel(graph: Any, configurable: Any, emu: Any, build: Build) -> None:
    config: Any = {"configurable": configurable}
    build(graph).invoke({"messages": DRAW}, config)
    first = answers(build(graph).invoke(Command(resume="yes"), config))
    again = build(graph)
    past = next(state.config for state in again.get_state_history(config) if "tools" in state.next)
    travel = {"configurable": {**configurable, **past["configurable"]}}
    again.invoke(None, travel)
    assert answers(again.invoke(Command(resume="no"), config)) == first
    assert bought(emu) == ["a bird", "a cat", "a dog"]


@pytest.mark.parametrize("graph", [tool_node, sends])
@pytest.mark.parametrize("configurable", PLACES)
def test_dispatched_again_while_the_first_is_at_work(
    graph: Any, configurable: Any, build: Build, make_toolkit: Any
) -> None:
    """LangGraph's platform does this to a run of minutes: it begins anew from the last checkpoint."""
    found: list[Any] = []

    def run(state: Any) -> None:
        found.append(answers(build(graph, base_url=slow.base_url).invoke(state, {"configurable": configurable})))

    with Emulator(pictures="plain", latency="manual") as slow:
        draw = [DRAW[0], AIMessage("", tool_calls=[CAT, DOG], id="ai1")]
        ledger = make_toolkit().open_ledger
        first = threading.Thread(target=run, args=({"messages": draw},), daemon=True)
        first.start()
        while len(slow.jobs) < 2:
            assert first.is_alive()
            time.sleep(0.001)
        second = threading.Thread(target=run, args=(None,), daemon=True)
        second.start()
        while sum(purchase.joins for purchase in ledger.purchases()) < 2:
            assert second.is_alive()
            assert len(slow.jobs) == 2, "the second one buys"
            time.sleep(0.001)
        slow.finish()
        for thread in (first, second):
            thread.join()
        assert found[0] == found[1]
        assert set(found[0]) == {"call_0", "call_1"}
        assert bought(slow) == ["a cat", "a dog"]


@pytest.mark.parametrize("configurable", PLACES)
def test_an_agent_that_asks_before_it_draws(configurable: Any, emu: Any, build: Build, scripted: Any) -> None:
    """The calls beside the question are bought before it is answered, and not again by the answer."""

    def agent(tools: Any, saver: Any) -> Any:
        model = scripted(*script)
        return create_agent(model, [*tools, ask], checkpointer=saver)

    config = {"configurable": configurable}
    script = [DRAW[1]]
    build(agent).invoke({"messages": [DRAW[0]]}, config)
    assert bought(emu) == ["a bird", "a cat", "a dog"]
    script = [AIMessage("Done.")]
    for resume in ("yes", "yes"):  # a second answer finds nothing to do
        ended = build(agent).invoke(Command(resume=resume), config)
    assert len(answers(ended)) == 3
    assert bought(emu) == ["a bird", "a cat", "a dog"]
