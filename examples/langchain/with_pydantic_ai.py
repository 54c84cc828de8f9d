"""The same tools in PydanticAI. Needs a key in APIMASTER_API_KEY, and ``pip install pydantic-ai-slim``."""

from pydantic_ai import Agent
from pydantic_ai.ext.langchain import LangChainToolset
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from langchain_apimaster import APIMasterToolkit


def stand_in(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    """In place of a chat model: call the tool, then answer with the tool's text."""
    returned = [part.content for message in messages for part in message.parts if isinstance(part, ToolReturnPart)]
    if not returned:
        return ModelResponse(parts=[ToolCallPart("generate_image", {"prompt": "An orange cat", "resolution": "0.5K"})])
    return ModelResponse(parts=[TextPart(f"Done. {returned[-1]}")])


with APIMasterToolkit(store="pictures") as toolkit:
    agent = Agent(FunctionModel(stand_in), toolsets=[LangChainToolset(toolkit.get_tools())])
    print(agent.run_sync("Draw an orange cat").output)
