"""The same tools in AutoGen. Needs a key in APIMASTER_API_KEY, and ``pip install autogen-agentchat autogen-ext``."""

import asyncio
import json

from autogen_agentchat.agents import AssistantAgent
from autogen_core import FunctionCall
from autogen_core.models import CreateResult, ModelFamily, RequestUsage
from autogen_ext.models.replay import ReplayChatCompletionClient
from autogen_ext.tools.langchain import LangChainToolAdapter

from langchain_apimaster import APIMasterToolkit

ARGUMENTS = {"prompt": "An orange cat", "resolution": "0.5K"}
stand_in = ReplayChatCompletionClient(  # in place of a chat model: it calls the tool
    [
        CreateResult(
            finish_reason="function_calls",
            content=[FunctionCall(id="call_1", name="generate_image", arguments=json.dumps(ARGUMENTS))],
            usage=RequestUsage(prompt_tokens=0, completion_tokens=0),
            cached=False,
        )
    ],
    model_info={
        "vision": False,
        "function_calling": True,
        "json_output": False,
        "structured_output": False,
        "family": ModelFamily.UNKNOWN,
    },
)


async def main() -> None:
    """Run one task; the agent answers with the tool's text."""
    with APIMasterToolkit(store="pictures") as toolkit:
        tools = [LangChainToolAdapter(tool) for tool in toolkit.get_tools()]
        agent = AssistantAgent("painter", model_client=stand_in, tools=tools)
        result = await agent.run(task="Draw an orange cat")
        print(f"Done. {result.messages[-1].to_text()}")


asyncio.run(main())
