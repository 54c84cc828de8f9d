"""A stand-in for a chat model, so that the examples run with no other key than that of APIMaster.

It says the lines it was given, one per turn; a line may be a function of the conversation so far. Put a chat model of
your own in its place: everything else stays as it is.
"""

from collections.abc import Callable
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult

Line = AIMessage | Callable[[list[BaseMessage]], AIMessage]


class StandIn(BaseChatModel):
    """A chat model that follows a script."""

    script: list[Any]

    @property
    def _llm_type(self) -> str:
        return "stand-in"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        """It knows its tools already."""
        return self

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        line: Line = self.script.pop(0)
        message = line(messages) if callable(line) else line
        return ChatResult(generations=[ChatGeneration(message=message)])


def call(tool: str, **arguments: Any) -> AIMessage:
    """A turn in which the model calls a tool."""
    return AIMessage("", tool_calls=[{"name": tool, "args": arguments, "id": f"call_{tool}"}])
