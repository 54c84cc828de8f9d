"""The same tools in smolagents. Needs a key in APIMASTER_API_KEY, and ``pip install smolagents``."""

from typing import Any

from smolagents import Tool, ToolCallingAgent
from smolagents.models import ChatMessage, ChatMessageToolCall, ChatMessageToolCallFunction, MessageRole, Model

from langchain_apimaster import APIMasterToolkit


class StandIn(Model):
    """In place of a chat model: call the tool, then answer with the tool's text."""

    def generate(self, messages: list[ChatMessage], **kwargs: Any) -> ChatMessage:
        """The next turn."""
        returned = [str(message.content) for message in messages if message.role == MessageRole.TOOL_RESPONSE]
        if not returned:
            name, arguments = "generate_image", {"prompt": "An orange cat", "resolution": "0.5K"}
        else:
            name, arguments = "final_answer", {"answer": f"Done. {returned[-1]}"}
        function = ChatMessageToolCallFunction(name=name, arguments=arguments)
        return ChatMessage(
            MessageRole.ASSISTANT, "", [ChatMessageToolCall(function, f"call_{len(returned)}", "function")]
        )


with APIMasterToolkit(store="pictures") as toolkit:
    tools = [Tool.from_langchain(tool) for tool in toolkit.get_tools()]
    agent = ToolCallingAgent(tools=tools, model=StandIn(), verbosity_level=0)
    print(agent.run("Draw an orange cat"))
