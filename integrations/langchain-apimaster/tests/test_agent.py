"""An agent in LangGraph with a scripted model: what it does, what the model reads, and what it costs to the cent."""

from __future__ import annotations

import asyncio
import base64
from decimal import Decimal
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph

THREAD: Any = {"configurable": {"thread_id": "thread-1"}}


def ask(agent: Any, text: Any, way: str = "invoke") -> list[Any]:
    state = {"messages": [HumanMessage(text)]}
    if way == "ainvoke":
        return asyncio.run(agent.ainvoke(state, THREAD))["messages"]  # type: ignore[no-any-return]
    return agent.invoke(state, THREAD)["messages"]  # type: ignore[no-any-return]


def results(messages: list[Any]) -> list[ToolMessage]:
    return [message for message in messages if isinstance(message, ToolMessage)]


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
def test_generates_then_edits_by_id_in_the_next_turn(
    way: str, emu: Any, make_toolkit: Any, scripted: Any, calls: Any, last_result: Any
) -> None:
    def edit(messages: list[Any]) -> AIMessage:
        picture = last_result(messages).artifact["images"][0]["id"]
        assert picture in last_result(messages).text
        return calls(("edit_image", {"prompt": "make the cat blue", "reference_images": [picture]}, "call_2"))

    model = scripted(
        calls(("generate_image", {"prompt": "a cat", "aspect_ratio": "16:9", "resolution": "2K"}, "call_1")),
        AIMessage("Here it is."),
        edit,
        AIMessage("Blue now."),
    )
    toolkit = make_toolkit()
    agent = create_agent(model, toolkit.get_tools(), checkpointer=InMemorySaver())
    (first,) = results(ask(agent, "Draw a cat", way))
    image = first.artifact["images"][0]
    assert (image["width"], image["height"], first.artifact["cost_usd"]) == (2752, 1536, "0.05")
    edited = results(ask(agent, "Make it blue", way))[-1]
    assert edited.status == "success"
    assert edited.artifact["images"][0]["id"] != image["id"]
    assert emu.jobs[1].request.references[0].width == 2752
    assert emu.bill.total == toolkit.budget.spent_usd == Decimal("0.0875")


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
def test_edits_an_image_that_the_user_attached(
    way: str, emu: Any, make_toolkit: Any, scripted: Any, calls: Any, png: bytes, data_uri: str
) -> None:
    model = scripted(
        calls(("edit_image", {"prompt": "as a watercolour", "reference_images": ["attachment:2"]}, "call_1")),
        calls(("edit_image", {"prompt": "as a comic", "reference_images": ["attachment:3"]}, "call_2")),
        AIMessage("Done."),
    )
    agent = create_agent(model, make_toolkit().get_tools())
    photo = {"type": "image", "base64": base64.b64encode(png).decode(), "mime_type": "image/png"}
    far = {"type": "image_url", "image_url": {"url": "https://example.com/far.png"}}
    first, second = results(ask(agent, [{"type": "text", "text": "Paint the second"}, far, photo], way))
    assert first.status == "success"
    reference = emu.jobs[0].request.references[0]
    assert (reference.width, reference.height) == (64, 48)
    assert second.status == "error"
    assert "the user has attached 2 images" in second.content
    assert len(emu.bill.charges) == 1


def test_submits_three_pictures_and_collects_them(
    emu: Any, make_toolkit: Any, scripted: Any, calls: Any, last_result: Any
) -> None:
    def collect(messages: list[Any]) -> AIMessage:
        tasks = [result.artifact["tasks"][0] for result in results(messages)]
        return calls(*(("get_image", {"task_id": task}, f"get_{task}") for task in tasks))

    prompts = ("a cat", "a dog", "a bird")
    model = scripted(
        calls(*(("submit_image", {"prompt": prompt}, f"submit_{prompt}") for prompt in prompts)),
        collect,
        AIMessage("Three pictures."),
    )
    toolkit = make_toolkit(max_images=3)
    found = results(ask(create_agent(model, toolkit.get_tools()), "A cat, a dog and a bird"))
    assert [message.status for message in found] == ["success"] * 6
    assert len({message.artifact["images"][0]["id"] for message in found[3:]}) == 3
    assert emu.bill.total == Decimal("0.1125")
    assert toolkit.budget.remaining_images == 0


def test_stops_at_the_budget(emu: Any, make_toolkit: Any, scripted: Any, calls: Any) -> None:
    model = scripted(
        calls(*(("generate_image", {"prompt": f"cat {number}"}, f"call_{number}") for number in range(4))),
        AIMessage("The budget is used up."),
    )
    toolkit = make_toolkit(budget_usd="0.08")
    # LangGraph runs the four tool calls side by side, in threads.
    found = results(ask(create_agent(model, toolkit.get_tools()), "Four cats"))
    assert sorted(message.status for message in found) == ["error", "error", "success", "success"]
    assert emu.bill.total == toolkit.budget.spent_usd == Decimal("0.075")


@pytest.mark.parametrize(
    ("fault", "words", "charges"),
    [
        ("moderation", "refused by content moderation", 0),
        ("proxy_504_html", "Do not try again by yourself", 1),
    ],
)
def test_reads_about_a_refusal_and_an_unknown_outcome(
    fault: str, words: str, charges: int, emu: Any, make_toolkit: Any, scripted: Any, calls: Any
) -> None:
    emu.script(fault)
    model = scripted(calls(("generate_image", {"prompt": "a cat"}, "call_1")), AIMessage("It did not work."))
    (found,) = results(ask(create_agent(model, make_toolkit().get_tools()), "Draw a cat"))
    assert found.status == "error"
    assert words in found.content
    assert len(emu.bill.charges) == charges


def test_collects_a_picture_after_the_wait_ended(
    make_toolkit: Any, scripted: Any, calls: Any, last_result: Any
) -> None:
    from apimaster.emulator import Emulator

    def collect(messages: list[Any]) -> AIMessage:
        slow.finish()
        (task,) = [
            word.strip('"().') for word in last_result(messages).content.split("task_id=") if "task_" in word[:6]
        ]
        return calls(("get_image", {"task_id": task.split('"')[0]}, "call_2"))

    with Emulator(pictures="plain", latency="manual") as slow:
        model = scripted(calls(("generate_image", {"prompt": "a cat"}, "call_1")), collect, AIMessage("There it is."))
        toolkit = make_toolkit(base_url=slow.base_url, timeout=0.3)
        late, found = results(ask(create_agent(model, toolkit.get_tools()), "Draw a cat"))
        assert (late.status, found.status) == ("error", "success")
        assert slow.bill.total == Decimal("0.0375")


def test_a_replayed_node_pays_once(emu: Any, make_toolkit: Any, scripted: Any, calls: Any) -> None:
    model = scripted(calls(("generate_image", {"prompt": "a cat"}, "call_1")), AIMessage("Here."), AIMessage("Here."))
    saver = InMemorySaver()
    agent = create_agent(model, make_toolkit().get_tools(), checkpointer=saver)
    (first,) = results(ask(agent, "Draw a cat"))
    before_tools = next(state for state in agent.get_state_history(THREAD) if state.next == ("tools",))
    (again,) = results(agent.invoke(None, before_tools.config)["messages"])
    assert again.artifact == first.artifact | {"replayed": True, "cost_usd": "0"}
    assert "This was made before, and is not paid for again." in again.text
    assert len(emu.bill.charges) == 1


@pytest.mark.parametrize("is_async", [False, True])
def test_progress_appears_in_the_stream(is_async: bool, emu: Any, make_toolkit: Any, scripted: Any, calls: Any) -> None:
    model = scripted(calls(("generate_image", {"prompt": "a cat"}, "call_1")), AIMessage("Here."))
    agent = create_agent(model, make_toolkit().get_tools())
    state = {"messages": [HumanMessage("Draw a cat")]}

    async def stream() -> list[Any]:
        return [piece async for piece in agent.astream(state, stream_mode="custom")]

    pieces = asyncio.run(stream()) if is_async else list(agent.stream(state, stream_mode="custom"))
    assert pieces[0]["stage"] == "submitting"
    assert pieces[-1] | {"stage": "done", "percent": 100.0, "event": "apimaster.progress"} == pieces[-1]
    assert {piece["tool_call_id"] for piece in pieces} == {"call_1"}


def test_progress_appears_in_the_events_of_a_graph(emu: Any, make_toolkit: Any, scripted: Any, calls: Any) -> None:
    model = scripted(calls(("generate_image", {"prompt": "a cat"}, "call_1")), AIMessage("Here."))
    agent = create_agent(model, make_toolkit().get_tools())

    async def listen() -> list[Any]:
        events = agent.astream_events({"messages": [HumanMessage("Draw a cat")]}, version="v2")
        return [event["data"]["stage"] async for event in events if event["event"] == "on_custom_event"]

    stages = asyncio.run(listen())
    assert (stages[0], stages[-1]) == ("submitting", "done")


def test_progress_appears_in_the_stream_of_a_node_that_calls_the_tool_itself(emu: Any, make_toolkit: Any) -> None:
    tool = make_toolkit().get_tools()[0]

    def draw(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage(tool.invoke("a cat"))]}

    graph = StateGraph(MessagesState).add_node("draw", draw).add_edge(START, "draw").add_edge("draw", END).compile()
    stages = [piece["stage"] for piece in graph.stream({"messages": []}, stream_mode="custom")]
    assert (stages[0], stages[-1]) == ("submitting", "done")


def test_a_model_that_takes_images_sees_the_picture(emu: Any, make_toolkit: Any, scripted: Any, calls: Any) -> None:
    model = scripted(calls(("generate_image", {"prompt": "a cat"}, "call_1")), AIMessage("I see a cat."))
    agent = create_agent(model, make_toolkit(show_image="always").get_tools())
    ask(agent, "Draw a cat")
    shown = model.conversations[-1][-1]
    assert [block["type"] for block in shown.content_blocks] == ["text", "image"]
