"""A failure is text for the model, and a failed run for whoever watches."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.tracers.run_collector import RunCollectorCallbackHandler

from langchain_apimaster import ImageToolError

REFUSED = {"prompt": "x", "reference_images": ["/etc/passwd"]}
INVALID = {"prompt": "x", "n": 9}


class Listener(BaseCallbackHandler):
    def __init__(self) -> None:
        self.ends: list[str] = []
        self.errors: list[BaseException] = []

    def on_tool_end(self, output: Any, **kwargs: Any) -> None:
        self.ends.append(str(output))

    def on_tool_error(self, error: BaseException, **kwargs: Any) -> None:
        self.errors.append(error)


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize(("arguments", "words"), [(REFUSED, "passwd"), (INVALID, "less than or equal to 4")])
def test_a_handled_failure_is_a_failed_run(
    arguments: dict[str, Any], words: str, is_async: bool, tools: Any, tool_call: Any
) -> None:
    tool = tools()["generate_image"]
    listener, tracer = Listener(), RunCollectorCallbackHandler()  # a tracer, as LangSmith's is
    config: Any = {"callbacks": [listener, tracer]}
    call = tool_call("generate_image", **arguments)
    message = asyncio.run(tool.ainvoke(call, config)) if is_async else tool.invoke(call, config)
    assert message.status == "error"
    assert message.tool_call_id == "call_1"
    assert message.name == "generate_image"
    assert words in message.content
    assert not listener.ends
    (error,) = listener.errors
    assert words in str(error)
    (run,) = tracer.traced_runs
    assert words in run.error
    assert run.end_time is not None
    if isinstance(error, ImageToolError):
        assert run.extra["metadata"]["apimaster_billed"] == "no"


def test_a_success_is_none(tools: Any) -> None:
    listener, tracer = Listener(), RunCollectorCallbackHandler()
    tools()["generate_image"].invoke("a cat", {"callbacks": [listener, tracer]})
    assert (len(listener.ends), listener.errors, tracer.traced_runs[0].error) == (1, [], None)


def test_in_an_agent_only_the_tool_failed(make_toolkit: Any, scripted: Any, calls: Any) -> None:
    tracer = RunCollectorCallbackHandler()
    model = scripted(calls(("generate_image", REFUSED, "call_1")), calls())
    agent = create_agent(model, make_toolkit().get_tools())
    result = agent.invoke({"messages": [("user", "Draw")]}, {"callbacks": [tracer]})
    assert result["messages"][2].status == "error"
    runs: list[Any] = [*tracer.traced_runs]
    for run in runs:
        runs += run.child_runs
    assert {run.name for run in runs if run.error} == {"generate_image"}


async def _events(tool: Any) -> list[str]:
    return [each["event"] async for each in tool.astream_events(REFUSED)]


def test_in_the_stream_of_events(tools: Any) -> None:
    assert asyncio.run(_events(tools()["generate_image"]))[-1] == "on_tool_error"


@pytest.mark.parametrize(
    ("handler", "text"),
    [("sorry", "sorry"), (lambda error: f"oh: {error.error.billed}", "oh: no"), (lambda error: 7, "7")],
)
def test_handlers_of_the_application(handler: Any, text: str, tools: Any, tool_call: Any) -> None:
    tool = tools()["generate_image"]
    tool.handle_tool_error = handler
    assert str(tool.invoke(REFUSED)) == text
    assert tool.invoke(tool_call("generate_image", **REFUSED)).content == text
    tool.handle_validation_error = True
    assert tool.invoke(INVALID) == "Tool input validation error"
    tool.handle_validation_error = False
    with pytest.raises(ValueError, match="less than or equal to 4"):
        tool.invoke(INVALID)
