"""The same tools in other agent frameworks, through their adapters for LangChain's tools.

Each agent draws a picture, edits it by the id that the tool returned, asks for a file that is refused, and answers with
everything that its tools returned.
"""

from __future__ import annotations

import asyncio
import json
import re
from decimal import Decimal
from typing import Any

FIRST = ("generate_image", {"prompt": "An orange cat", "aspect_ratio": "16:9", "resolution": "2K"})


def next_call(returned: list[str]) -> tuple[str, dict[str, Any]] | None:
    """What a chat model would do next, given what its tools have returned."""
    if not returned:
        return FIRST
    if len(returned) == 1:
        (picture,) = set(re.findall(r"img_[a-z2-7]{12}", returned[0]))
        return "edit_image", {"prompt": "Make it blue", "reference_images": [picture]}
    if len(returned) == 2:
        return "edit_image", {"prompt": "Show it", "reference_images": ["/etc/passwd"]}
    return None


def check(returned: list[str], emulator: Any) -> None:
    assert len(returned) == 3
    assert "2752×1536 PNG, 16:9, 2K, $0.05." in returned[0]
    assert "$0.0375" in returned[1]
    assert max(map(len, map(str, returned))) < 600  # show_image="always" became no base64 in the prompt
    assert "'/etc/passwd' is not a picture that can be named here" in returned[2]
    assert all(str(text).count("http") == 0 for text in returned[:2])
    assert emulator.bill.total == Decimal("0.0875")
    assert len(emulator.jobs[1].request.references) == 1


def test_pydantic_ai(emu: Any, make_toolkit: Any) -> None:
    from pydantic_ai import Agent
    from pydantic_ai.ext.langchain import tool_from_langchain
    from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart, ToolReturnPart
    from pydantic_ai.models.function import FunctionModel

    seen: list[Any] = []

    def model(messages: Any, info: Any) -> Any:
        seen.append(info)
        returned = [part.content for message in messages for part in message.parts if isinstance(part, ToolReturnPart)]
        call = next_call(returned)
        return ModelResponse(parts=[ToolCallPart(*call) if call else TextPart(json.dumps(returned))])

    agent = Agent(
        FunctionModel(model),
        tools=[tool_from_langchain(tool) for tool in make_toolkit(show_image="always").get_tools()],
    )
    check(json.loads(agent.run_sync("Draw a cat").output), emu)
    schemas = {tool.name: tool.parameters_json_schema for tool in seen[0].function_tools}
    assert schemas["generate_image"]["required"] == ["prompt"]
    assert schemas["edit_image"]["required"] == ["prompt", "reference_images"]


def test_smolagents(emu: Any, make_toolkit: Any) -> None:
    from smolagents import Tool, ToolCallingAgent
    from smolagents.models import ChatMessage, ChatMessageToolCall, ChatMessageToolCallFunction, MessageRole, Model

    class Scripted(Model):
        def generate(self, messages: Any, **kwargs: Any) -> Any:
            # smolagents rewrites a tool's text for the next prompt; its memory has the text as it was
            returned = [step.observations for step in agent.memory.steps if getattr(step, "observations", None)]
            name, arguments = next_call(returned) or ("final_answer", {"answer": json.dumps(returned)})
            function = ChatMessageToolCallFunction(name=name, arguments=arguments)
            return ChatMessage(
                MessageRole.ASSISTANT, "", [ChatMessageToolCall(function, f"call_{len(returned)}", "function")]
            )

    tools = make_toolkit(show_image="always").get_tools()
    before = [tool.tool_call_schema.model_json_schema() for tool in tools]
    agent = ToolCallingAgent(tools=[Tool.from_langchain(tool) for tool in tools], model=Scripted(), verbosity_level=0)
    check(json.loads(agent.run("Draw a cat")), emu)
    assert [tool.tool_call_schema.model_json_schema() for tool in tools] == before


def test_autogen(emu: Any, make_toolkit: Any) -> None:
    from autogen_agentchat.agents import AssistantAgent
    from autogen_core import CancellationToken, FunctionCall
    from autogen_core.models import CreateResult, ModelFamily, RequestUsage
    from autogen_ext.models.replay import ReplayChatCompletionClient
    from autogen_ext.tools.langchain import LangChainToolAdapter

    returned: list[str] = []

    class Scripted(ReplayChatCompletionClient):
        async def create(self, messages: Any, **kwargs: Any) -> Any:
            returned[:] = [each.content for message in messages if message.type == "FunctionExecutionResultMessage"
                       for each in message.content]  # fmt: skip
            call = next_call(returned)
            content: Any = json.dumps(returned)
            if call:
                content = [FunctionCall(id=f"call_{len(returned)}", name=call[0], arguments=json.dumps(call[1]))]
            usage = RequestUsage(prompt_tokens=0, completion_tokens=0)
            return CreateResult(
                finish_reason="function_calls" if call else "stop", content=content, usage=usage, cached=False
            )

    model = Scripted(
        [],
        model_info={
            "vision": False,
            "function_calling": True,
            "json_output": False,
            "structured_output": False,
            "family": ModelFamily.UNKNOWN,
        },
    )
    tools: Any = [LangChainToolAdapter(tool) for tool in make_toolkit(show_image="always").get_tools()]
    agent = AssistantAgent("painter", model_client=model, tools=tools, max_tool_iterations=5)
    result = asyncio.run(agent.run(task="Draw a cat", cancellation_token=CancellationToken()))
    check(json.loads(result.messages[-1].to_text()), emu)
    assert tools[0].schema["parameters"]["required"] == ["prompt"]
