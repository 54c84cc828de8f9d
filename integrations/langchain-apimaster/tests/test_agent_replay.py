"""Resume, time travel and forks in LangGraph: the same call brings the same picture, another call buys one."""

from __future__ import annotations

import base64
import io
import itertools
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from PIL import Image

CALL = {"name": "generate_image", "args": {"prompt": "a cat"}, "id": "call_0"}


def in_thread(name: str, **configurable: str) -> Any:
    return {"configurable": {"thread_id": name, **configurable}}


def pictures(messages: Any) -> list[str]:
    found = [message for message in messages if isinstance(message, ToolMessage)]
    assert all(message.status == "success" for message in found), found
    return [image["id"] for message in found for image in message.artifact["images"]]


def tool_graph(toolkit: Any, **options: Any) -> Any:
    """A graph whose one node gets a whole message, as graphs of people's own have it."""
    graph = StateGraph(MessagesState).add_node("tools", ToolNode(toolkit.get_tools())).add_edge(START, "tools")
    return graph.compile(**options)


def before_tools(agent: Any, config: Any) -> Any:
    return next(state.config for state in agent.get_state_history(config) if "tools" in state.next)


def test_a_counted_id_in_two_threads_and_in_two_turns_is_four_calls(
    emu: Any, make_toolkit: Any, scripted: Any, calls: Any
) -> None:
    """Some models count ``call_0`` afresh in every turn."""
    turns = [(calls(("generate_image", {"prompt": "a cat"}, "call_0")), AIMessage("Here.")) for _ in range(4)]
    agent = create_agent(scripted(*itertools.chain(*turns)), make_toolkit().get_tools(), checkpointer=InMemorySaver())
    for thread in ("one", "two"):
        for _ in range(2):
            found = pictures(agent.invoke({"messages": [HumanMessage("a cat")]}, in_thread(thread))["messages"])
        assert len(set(found)) == 2
    assert len(emu.bill.charges) == 4


def test_without_a_thread_the_message_is_enough(emu: Any, make_toolkit: Any) -> None:
    graph = tool_graph(make_toolkit())
    messages = [HumanMessage("a cat", id="h1"), AIMessage("", tool_calls=[CALL], id="ai1")]
    first, again = (pictures(graph.invoke({"messages": messages})["messages"]) for _ in range(2))
    assert first == again
    other = [messages[0], AIMessage("", tool_calls=[CALL], id="ai2")]
    assert pictures(graph.invoke({"messages": other})["messages"]) != first
    assert len(emu.bill.charges) == 2


@pytest.mark.parametrize("kind", ["dispatched one by one", "as one node"])
def test_the_same_id_twice_in_one_message_is_two_purchases(
    kind: str, emu: Any, make_toolkit: Any, scripted: Any
) -> None:
    config = in_thread("one")
    twice = AIMessage("", tool_calls=[CALL, CALL], id="ai1")
    saver = InMemorySaver()

    def build() -> Any:
        toolkit = make_toolkit()
        if kind == "as one node":
            return tool_graph(toolkit, checkpointer=saver)
        return create_agent(scripted(*(10 * [AIMessage("Here.")])), toolkit.get_tools(), checkpointer=saver)

    if kind == "as one node":
        first = pictures(build().invoke({"messages": [HumanMessage("two"), twice]}, config)["messages"])
    else:
        agent = create_agent(scripted(twice, AIMessage("Here.")), make_toolkit().get_tools(), checkpointer=saver)
        first = pictures(agent.invoke({"messages": [HumanMessage("two")]}, config)["messages"])
    assert len(set(first)) == 2
    graph = build()
    past = before_tools(graph, config)
    for each in (graph, graph, build()):
        assert sorted(pictures(each.invoke(None, past)["messages"])) == sorted(first)
    assert len(emu.bill.charges) == 2


def test_the_same_id_with_other_arguments_is_another_call(emu: Any, make_toolkit: Any) -> None:
    graph = tool_graph(make_toolkit())
    calls = [CALL, {**CALL, "args": {"prompt": "a dog"}}, CALL]
    message = AIMessage("", tool_calls=calls, id="ai1")
    found = [pictures(graph.invoke({"messages": [message]})["messages"]) for _ in range(3)]
    assert len(set(found[0])) == 3
    assert sorted(found[0]) == sorted(found[1]) == sorted(found[2])
    assert found[0][1] == found[1][1] == found[2][1]
    assert len(emu.bill.charges) == 3


def test_time_travel_is_free_and_a_fork_buys(emu: Any, make_toolkit: Any, scripted: Any, last_result: Any) -> None:
    config = in_thread("one")
    call = AIMessage("", tool_calls=[CALL], id="ai1")
    agent = create_agent(
        scripted(call, *(10 * [AIMessage("Here.")])), make_toolkit().get_tools(), checkpointer=InMemorySaver()
    )
    first = pictures(agent.invoke({"messages": [HumanMessage("a cat")]}, config)["messages"])
    past = before_tools(agent, config)
    for here in (past, agent.update_state(past, {"messages": [call]})):  # the second is a fork that changes nothing
        messages = agent.invoke(None, here)["messages"]
        assert pictures(messages) == first
        made = last_result(messages)
        assert "This was made before, and is not paid for again." in made.text
        assert (made.artifact["replayed"], made.artifact["cost_usd"]) == (True, "0")
    assert len(emu.bill.charges) == 1
    fork = agent.update_state(
        past, {"messages": [AIMessage("", tool_calls=[{**CALL, "args": {"prompt": "a dog"}}], id="ai1")]}
    )
    forked = [agent.invoke(None, fork)["messages"] for _ in range(2)]
    assert pictures(forked[0]) == pictures(forked[1]) != first
    assert [last_result(messages).artifact["replayed"] for messages in forked] == [False, True]
    assert "made before" not in last_result(forked[0]).text
    assert len(emu.bill.charges) == 2


def test_a_retry_of_the_model_with_another_prompt_buys(
    emu: Any, make_toolkit: Any, scripted: Any, calls: Any, last_result: Any
) -> None:
    """The checkpoint before the model's turn: it answers anew, in another message, with the same counted id."""
    config = in_thread("one")
    turns = [calls(("generate_image", {"prompt": prompt}, "call_0")) for prompt in ("a cat", "a dog", "a dog")]
    script = [each for turn in turns for each in (turn, AIMessage("Here."))]
    agent = create_agent(scripted(*script), make_toolkit().get_tools(), checkpointer=InMemorySaver())
    agent.invoke({"messages": [HumanMessage("draw")]}, config)
    past = [state.config for state in agent.get_state_history(config) if "model" in state.next][-1]
    again = [last_result(agent.invoke(None, past)["messages"]).artifact for _ in range(2)]
    assert [each["replayed"] for each in again] == [False, False], "two answers of the model are two calls"
    assert [job.request.prompt for job in emu.jobs] == ["a cat", "a dog", "a dog"]


def test_a_fork_with_another_attachment_of_the_user_buys(emu: Any, make_toolkit: Any) -> None:
    """Time travel to a checkpoint whose user message is replaced; the model's message stays."""
    graph = tool_graph(make_toolkit(), checkpointer=InMemorySaver())
    call = {"name": "edit_image", "args": {"prompt": "blue", "reference_images": ["attachment:1"]}, "id": "call_0"}
    config = in_thread("one")

    def attached(color: str) -> HumanMessage:
        out = io.BytesIO()
        Image.new("RGB", (64, 48), color).save(out, format="PNG")
        data = base64.b64encode(out.getvalue()).decode()
        return HumanMessage([{"type": "image", "base64": data, "mime_type": "image/png"}], id="h1")

    first = pictures(
        graph.invoke({"messages": [attached("teal"), AIMessage("", tool_calls=[call], id="ai1")]}, config)["messages"]
    )
    past = before_tools(graph, config)
    same, other = (
        graph.update_state(past, {"messages": [attached(color)]}, as_node="__start__") for color in ("teal", "red")
    )
    assert pictures(graph.invoke(None, same)["messages"]) == first
    assert len(emu.bill.charges) == 1
    assert pictures(graph.invoke(None, other)["messages"]) != first
    assert len(emu.bill.charges) == 2


def test_a_fork_with_another_attachment_buys(emu: Any, make_toolkit: Any) -> None:
    graph = tool_graph(make_toolkit())
    call = {"name": "edit_image", "args": {"prompt": "blue", "reference_images": ["attachment:1"]}, "id": "call_0"}

    def edit(color: str) -> list[str]:
        out = io.BytesIO()
        Image.new("RGB", (64, 48), color).save(out, format="PNG")
        block = {"type": "image", "base64": base64.b64encode(out.getvalue()).decode(), "mime_type": "image/png"}
        messages = [HumanMessage([block], id="h1"), AIMessage("", tool_calls=[call], id="ai1")]
        return pictures(graph.invoke({"messages": messages}, in_thread("one"))["messages"])

    assert edit("teal") == edit("teal")
    assert edit("red") != edit("teal")
    assert len(emu.bill.charges) == 2


def test_bought_again_on_purpose(emu: Any, make_toolkit: Any) -> None:
    graph = tool_graph(make_toolkit())
    messages = [AIMessage("", tool_calls=[CALL], id="ai1")]

    def draw(**configurable: str) -> list[str]:
        return pictures(graph.invoke({"messages": messages}, in_thread("one", **configurable))["messages"])

    assert draw() == draw()
    assert draw(apimaster_fresh="1") == draw(apimaster_fresh="1") != draw()
    assert draw(apimaster_fresh="2") not in (draw(), draw(apimaster_fresh="1"))
    assert len(emu.bill.charges) == 3


def test_a_run_that_stopped_in_the_middle_is_resumed(emu: Any, make_toolkit: Any, scripted: Any, calls: Any) -> None:
    """One of two tool calls fails for good: LangGraph repeats the other one, too, if its node is one."""
    config = in_thread("one")
    saver = InMemorySaver()
    two = [CALL, {"name": "generate_image", "args": {"prompt": "a dog"}, "id": "call_1"}]

    def build(*, broken: bool) -> Any:
        tools = make_toolkit().get_tools()

        def once(state: MessagesState) -> dict[str, Any]:
            made = ToolNode(tools).invoke(state)
            if broken:
                raise RuntimeError("the process ends here")
            return made  # type: ignore[no-any-return]

        return StateGraph(MessagesState).add_node("tools", once).add_edge(START, "tools").compile(checkpointer=saver)

    with pytest.raises(RuntimeError, match="ends here"):
        build(broken=True).invoke({"messages": [AIMessage("", tool_calls=two, id="ai1")]}, config)
    assert len(emu.bill.charges) == 2
    found = pictures(build(broken=False).invoke(None, config)["messages"])
    assert len(set(found)) == 2
    assert len(emu.bill.charges) == 2
