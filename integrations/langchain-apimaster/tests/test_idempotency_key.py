"""A key of the application's stands for a whole run: whoever repeats the run with it buys nothing twice."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode

from apimaster import APIMaster, GenerationFailedError, ImageRequest
from apimaster.emulator import Emulator
from apimaster.ledger.digest import request_digest
from langchain_apimaster import APIMasterToolkit

CAT, DOG = ("generate_image", {"prompt": "a cat"}), ("generate_image", {"prompt": "a dog"})
FULL_CAT = ("generate_image", {"prompt": "a cat", "n": 1, "resolution": "1k", "aspect_ratio": None})
TASK = ("submit_image", {"prompt": "a cat"})
PICTURES = 5  # of a run of the agent below: two cats, a dog, a task, and an edit of the first cat

Ids = Callable[[], Iterator[str]]


def counted() -> Iterator[str]:
    return (f"call_{number}" for number in itertools.count())


def random() -> Iterator[str]:
    return (uuid.uuid4().hex for _ in itertools.count())


def all_the_same() -> Iterator[str]:
    return itertools.repeat("call_0")


def config_of(key: str, thread: str | None = "one", **configurable: str) -> Any:
    placed = {} if thread is None else {"thread_id": thread}
    return {"configurable": {"idempotency_key": key, **placed, **configurable}}


def results(messages: Any) -> list[ToolMessage]:
    """The answers to the tool calls of the last run in a thread."""
    begin = max(at for at, message in enumerate(messages) if isinstance(message, HumanMessage))
    found = [message for message in messages[begin:] if isinstance(message, ToolMessage)]
    assert all(message.status == "success" for message in found), found
    return found


def bought(messages: Any) -> list[str]:
    """The ids of the pictures and the tasks that the last run has got."""
    return sorted(
        each
        for message in results(messages)
        for each in [image["id"] for image in message.artifact["images"]] or message.artifact["tasks"]
    )


@pytest.fixture
def run_agent(make_toolkit: Any, scripted: Any, calls: Any) -> Callable[..., list[str]]:
    """Run an agent, in a toolkit of its own as another process has it, that makes ``first`` and edits its first cat."""
    saver = InMemorySaver()

    def run(
        config: Any, ids: Ids = counted, first: Any = (CAT, DOG, CAT, TASK), way: str = "invoke", **options: Any
    ) -> list[str]:
        names = ids()

        def edit(messages: list[Any]) -> AIMessage:
            cats = [message for call, message in zip(first, results(messages), strict=True) if call == CAT]
            picture = cats[0].artifact["images"][0]["id"]
            return calls(("edit_image", {"prompt": "blue", "reference_images": [picture]}, next(names)))

        model = scripted(calls(*((*call, next(names)) for call in first)), edit, AIMessage("Done."))
        has_thread = "thread_id" in config["configurable"]
        agent = create_agent(model, make_toolkit(**options).get_tools(), checkpointer=saver if has_thread else None)
        state = {"messages": [HumanMessage("Two cats and a dog")]}
        ended = asyncio.run(agent.ainvoke(state, config)) if way == "ainvoke" else agent.invoke(state, config)
        return bought(ended["messages"])

    return run


@pytest.mark.parametrize("ids", [counted, all_the_same])
@pytest.mark.parametrize(
    ("thread", "again"),
    [
        ("one", {}),
        ("two", {}),
        (None, {}),
        ("two", {"ids": random}),
        ("two", {"ids": all_the_same}),
        ("two", {"ids": counted, "way": "ainvoke"}),
        ("two", {"first": (TASK, CAT, CAT, DOG)}),
    ],
)
def test_a_run_that_is_repeated_buys_nothing(thread: Any, again: Any, ids: Ids, emu: Any, run_agent: Any) -> None:
    first = run_agent(config_of("order-17"), ids)
    assert len(set(first)) == len(emu.bill.charges) == PICTURES, "each picture of the run is bought"
    assert run_agent(config_of("order-17", thread), **{"ids": ids, **again}) == first
    assert len(emu.bill.charges) == PICTURES


@pytest.mark.parametrize(
    ("config", "options"),
    [
        (config_of("order-18"), {}),
        (config_of("order-17", apimaster_fresh="again"), {}),
        (config_of("order-17"), {"namespace": "tenant"}),
        (config_of("order-17"), {"defaults": {"resolution": "2K"}}),
    ],
)
def test_a_run_with_another_key_buys_all_of_it(config: Any, options: Any, emu: Any, run_agent: Any) -> None:
    first = run_agent(config_of("order-17"))
    other = [run_agent(config, **options) for _ in range(2)]
    assert other[0] == other[1]
    assert not set(other[0]) & set(first)
    assert len(emu.bill.charges) == 2 * PICTURES


def test_a_repetition_that_asks_for_more_buys_only_that(emu: Any, run_agent: Any) -> None:
    few = run_agent(config_of("order-17"), first=(CAT, TASK))
    more = run_agent(config_of("order-17", "two"), first=(DOG, CAT, CAT, TASK))
    assert set(few) < set(more)
    assert run_agent(config_of("order-17", "three"), first=(CAT, TASK)) == few
    assert len(emu.bill.charges) == PICTURES


@pytest.mark.parametrize("kind", ["dispatched one by one", "as one node"])
@pytest.mark.parametrize("ids", [counted, all_the_same])
@pytest.mark.parametrize("equal", [(CAT, CAT), (CAT, FULL_CAT), (CAT, DOG, CAT), (DOG, CAT, FULL_CAT, CAT)])
def test_equal_calls_in_one_message_are_a_purchase_each(
    equal: Any, ids: Ids, kind: str, emu: Any, make_toolkit: Any, scripted: Any, calls: Any
) -> None:
    """Also if one of them writes a default out."""

    def run(thread: str) -> list[str]:
        message = calls(*((*call, name) for call, name in zip(equal, ids(), strict=False)))
        tools = make_toolkit().get_tools()
        if kind == "as one node":
            node = ToolNode(tools)
            graph: Any = StateGraph(MessagesState).add_node("tools", node).add_edge(START, "tools").compile()
            state = {"messages": [HumanMessage("cats"), message]}
        else:
            graph = create_agent(scripted(message, AIMessage("Done.")), tools)
            state = {"messages": [HumanMessage("cats")]}
        return bought(graph.invoke(state, config_of("order-17", thread))["messages"])

    first = run("one")
    assert len(set(first)) == len(equal)
    assert run("two") == first
    assert len(emu.bill.charges) == len(equal)


def test_an_equal_call_in_a_later_message_gets_the_same_picture(
    emu: Any, make_toolkit: Any, scripted: Any, calls: Any
) -> None:
    """A run that is repeated may come to its second message at once, if the first call had failed before."""
    emu.script("task_failed")
    agent = create_agent(
        scripted(*(calls((*CAT, f"call_{number}")) for number in range(3)), AIMessage("Done.")),
        make_toolkit().get_tools(),
    )
    messages = agent.invoke({"messages": [HumanMessage("a cat")]}, config_of("order-17", None))["messages"]
    failed, first, again = (message for message in messages if isinstance(message, ToolMessage))
    assert failed.status == "error"
    assert again.artifact == first.artifact | {"replayed": True, "cost_usd": "0"}
    assert len(emu.bill.standing) == 1


def test_an_answered_call_does_not_count_as_dispatched(emu: Any, make_toolkit: Any, scripted: Any, calls: Any) -> None:
    """LangGraph dispatches only the calls that have no answer: the place of a dispatch is not that in the message."""
    message = calls((*CAT, "answered"), (*CAT, "call_0"), (*DOG, "call_0"), (*CAT, "call_0"))
    state = {"messages": [HumanMessage("cats"), message, ToolMessage("refused", tool_call_id="answered")]}
    found = []
    for thread in ("one", "two"):
        agent = create_agent(scripted(AIMessage("Done.")), make_toolkit().get_tools(), checkpointer=InMemorySaver())
        config = config_of("order-17", thread)
        agent.update_state(config, state, as_node="model")
        messages = agent.invoke(None, config)["messages"]
        found.append(bought([each for each in messages if getattr(each, "tool_call_id", "") != "answered"]))
    assert found[0] == found[1]
    assert len(set(found[0])) == len(emu.bill.charges) == 3


# --- purchases of earlier versions ------------------------------------------------------------------------


def key_of_before(message: str | None, call_id: str, key: str | None) -> str:
    """The key in the ledger that versions before gave to a call for a cat in the thread ``one``."""
    facts = ["", "one", message, call_id, key, None, "generate_image", request_digest(ImageRequest(prompt="a cat"))]
    digest = hashlib.sha256(json.dumps(facts, separators=(",", ":")).encode()).hexdigest()[:40]
    return f"langchain-{hashlib.sha256(b'').hexdigest()[:12]}-{digest}"


@pytest.mark.parametrize("key", ["order-17", None])
def test_what_earlier_versions_bought_is_found(key: str | None, emu: Any, make_toolkit: Any, tool_call: Any) -> None:
    """With a key of the application's and without one: the keys in existing ledgers stay valid."""
    toolkit = make_toolkit()
    config = {"configurable": {"thread_id": "one"} | ({} if key is None else {"idempotency_key": key})}
    with APIMaster(emu.api_key, base_url=emu.base_url, ledger=toolkit.open_ledger) as client:
        before = client.generate("a cat", idempotency_key=key_of_before(None, "call_1", key))
    generate = toolkit.get_tools()[0]
    call = tool_call("generate_image", prompt="a cat")
    for _ in range(2):
        message = generate.invoke(call, config)
        assert message.artifact["tasks"] == [before.tasks[0].id]
        assert message.artifact["replayed"]
    assert len(emu.bill.charges) == 1
    generate.invoke({**call, "id": "call_2"}, config)
    assert generate.invoke(call, config).artifact == message.artifact, "it stays the picture that it was"


def test_what_failed_in_an_earlier_version_is_bought_once(emu: Any, make_toolkit: Any, tool_call: Any) -> None:
    toolkit = make_toolkit()
    emu.script("task_failed")
    with (
        APIMaster(emu.api_key, base_url=emu.base_url, ledger=toolkit.open_ledger) as client,
        pytest.raises(GenerationFailedError),
    ):
        client.generate("a cat", idempotency_key=key_of_before(None, "call_1", "order-17"))
    generate = toolkit.get_tools()[0]
    found = [
        generate.invoke(tool_call("generate_image", f"call_{number}", prompt="a cat"), config_of("order-17"))
        for number in (2, 1, 2)
    ]
    assert len({message.artifact["images"][0]["id"] for message in found}) == 1
    assert len(emu.bill.standing) == 1


# --- several processes ------------------------------------------------------------------------------------

PROGRAM = """
import json, sys, uuid
from langchain.agents import create_agent
from langchain_core.language_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_apimaster import APIMasterToolkit

class Model(FakeMessagesListChatModel):
    def bind_tools(self, tools, **kwargs):
        return self

options, first = json.loads(sys.argv[1])
message = AIMessage("", tool_calls=[{"name": name, "args": args, "id": uuid.uuid4().hex} for name, args in first])
agent = create_agent(Model(responses=[message, AIMessage("Done.")]), APIMasterToolkit(**options).get_tools())
print("ready", flush=True)
sys.stdin.readline()
config = {"configurable": {"thread_id": uuid.uuid4().hex, "idempotency_key": "order-17"}}
messages = agent.invoke({"messages": [HumanMessage("Draw")]}, config)["messages"]
answers = [each for each in messages if isinstance(each, ToolMessage)]
def ids(answer):
    return [image["id"] for image in (answer.artifact or {"images": []})["images"]]

print(json.dumps([[each.status, ids(each)] for each in answers]))
"""


@pytest.mark.slow
def test_two_processes_that_get_a_run_at_once(tmp_path: Path) -> None:
    """A queue delivers it twice: each has a thread and call ids of its own, and neither knows of the other."""
    first = [("generate_image", {"prompt": f"cat {number % 6}"}) for number in range(8)]
    with Emulator(pictures="plain", latency="0.1-0.4") as gateway:
        options = {"api_key": gateway.api_key, "base_url": gateway.base_url, "store": str(tmp_path / "store")}
        pipe = subprocess.PIPE
        command = [sys.executable, "-c", PROGRAM, json.dumps([options, first])]
        children = [subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) for _ in range(2)]
        try:
            for child in children:
                assert child.stdout is not None
                assert child.stdout.readline() == "ready\n", child.communicate()[1]
            for child in children:
                assert child.stdin is not None
                child.stdin.write("\n")
                child.stdin.flush()
            printed = [child.communicate(timeout=120) for child in children]
        finally:
            for child in children:
                if child.poll() is None:
                    child.kill()
                    child.communicate()
        assert [child.returncode for child in children] == [0, 0], printed
        one, two = (json.loads(text) for text, _ in printed)
        assert one == two
        assert [status for status, _ in one] == ["success"] * 8
        assert len({image for _, images in one for image in images}) == 8
        assert len(gateway.bill.charges) == 8
        with APIMasterToolkit(**options) as toolkit:
            assert len(list(toolkit.open_ledger.purchases())) == 8
            toolkit.open_ledger.close()
