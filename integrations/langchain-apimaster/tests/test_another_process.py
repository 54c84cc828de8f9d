"""A new process with the same store: it finds what this one bought, resumes its threads, and imports nothing optional.

LangChain takes seconds to import, so one process answers for all tests of this module.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.sqlite import SqliteSaver

from apimaster.emulator import Emulator
from langchain_apimaster import APIMasterToolkit

THREAD: Any = {"configurable": {"thread_id": "thread-1"}}
PROGRAM = """
import json, sys
from langchain_apimaster import APIMasterToolkit

options, database, first_call, new_call = json.loads(sys.argv[1])
toolkit = APIMasterToolkit(**options)
tools = {tool.name: tool for tool in toolkit.get_tools()}
imported = [name for name in ("langgraph", "PIL", "fsspec", "langchain", "httpcore") if name in sys.modules]

def call(name, call_id, **args):
    return {"type": "tool_call", "name": name, "id": call_id, "args": args}

def facts(message):
    return [message.status, message.content, message.artifact]

thread = {"configurable": {"thread_id": "thread-1"}}
replayed = tools["generate_image"].invoke(first_call, thread)
picture = replayed.artifact["images"][0]["id"]
edited = tools["edit_image"].invoke(call("edit_image", "call_3", prompt="blue", reference_images=[picture]))
new = tools["generate_image"].invoke(new_call, thread)

from langchain.agents import create_agent
from langchain_core.language_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.sqlite import SqliteSaver

class Model(FakeMessagesListChatModel):
    def bind_tools(self, tools, **kwargs):
        return self

with SqliteSaver.from_conn_string(database) as saver:
    state = create_agent(Model(responses=[]), toolkit.get_tools(), checkpointer=saver).get_state(thread)
    (made,) = [message for message in state.values["messages"] if isinstance(message, ToolMessage)]
    picture = made.artifact["images"][0]["id"]
    edit = {"name": "edit_image", "args": {"prompt": "make it blue", "reference_images": [picture]}, "id": "call_2"}
    model = Model(responses=[AIMessage("", tool_calls=[edit]), AIMessage("Blue now.")])
    agent = create_agent(model, toolkit.get_tools(), checkpointer=saver)
    messages = agent.invoke({"messages": [HumanMessage("Make it blue")]}, thread)["messages"]
edited_in_thread = [message for message in messages if isinstance(message, ToolMessage)][-1]
print(json.dumps({
    "imported": imported, "replayed": facts(replayed), "edited": facts(edited), "new": facts(new),
    "artifact": made.artifact, "bytes": len(toolkit.read(picture)), "edited in thread": facts(edited_in_thread),
}))
"""


@dataclass
class Outcome:
    """What this process bought before, and what the other one printed."""

    emulator: Emulator
    generate: Any
    first_call: dict[str, Any]
    first: ToolMessage
    new_call: dict[str, Any]
    in_thread: ToolMessage
    other: dict[str, Any]


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory, scripted: Any, calls: Any, tool_call: Any) -> Iterator[Outcome]:
    folder = tmp_path_factory.mktemp("shared")
    database = str(folder / "threads.db")
    with Emulator(pictures="plain") as emulator:
        options = {"api_key": emulator.api_key, "base_url": emulator.base_url, "store": str(folder / "store")}
        with APIMasterToolkit(**options) as toolkit:
            generate = toolkit.get_tools()[0]
            first_call = tool_call("generate_image", prompt="a cat")
            new_call = tool_call("generate_image", "call_2", prompt="a dog")
            first = generate.invoke(first_call, THREAD)
            call = calls(("generate_image", {"prompt": "a cat in a thread"}, "call_1"))
            model = scripted(call, AIMessage("Here it is."))
            with SqliteSaver.from_conn_string(database) as saver:
                agent = create_agent(model, toolkit.get_tools(), checkpointer=saver)
                state = agent.invoke({"messages": [HumanMessage("Draw a cat")]}, THREAD)
            (in_thread,) = [message for message in state["messages"] if isinstance(message, ToolMessage)]
            arguments = json.dumps([options, database, first_call, new_call])
            done = subprocess.run(
                [sys.executable, "-c", PROGRAM, arguments], capture_output=True, text=True, check=False, timeout=120
            )
            assert done.returncode == 0, done.stderr
            other = json.loads(done.stdout.splitlines()[-1])
            yield Outcome(emulator, generate, first_call, first, new_call, in_thread, other)


def facts(message: ToolMessage) -> list[Any]:
    return [message.status, message.content, message.artifact]


def test_the_import_brings_nothing_optional(outcome: Outcome) -> None:
    assert outcome.other["imported"] == []


def test_each_process_finds_the_pictures_of_the_other(outcome: Outcome) -> None:
    status, text, artifact = outcome.other["replayed"]
    assert (status, artifact) == ("success", outcome.first.artifact | {"replayed": True, "cost_usd": "0"})
    assert "This was made before, and is not paid for again." in text
    assert outcome.other["edited"][0] == "success"
    again = outcome.generate.invoke(outcome.new_call, THREAD)
    assert again.artifact == outcome.other["new"][2] | {"replayed": True, "cost_usd": "0"}


def test_a_checkpointed_thread_is_resumed(outcome: Outcome) -> None:
    made = outcome.in_thread
    assert outcome.other["artifact"] == made.artifact
    assert outcome.other["edited in thread"][0] == "success"
    assert outcome.other["bytes"] == Path(made.artifact["images"][0]["path"]).stat().st_size


def test_each_picture_is_bought_once(outcome: Outcome) -> None:
    outcome.generate.invoke(outcome.new_call, THREAD)
    prompts = [job.request.prompt for job in outcome.emulator.jobs]
    assert prompts == ["a cat", "a cat in a thread", "blue", "a dog", "make it blue"]
    assert outcome.emulator.bill.total == Decimal("0.1875")
