"""A stand-in for a chat model, so that the examples need no key but that of APIMaster.

It follows a script of turns; a turn may be a function of the conversation so far. To use a real chat model, put it in
place of the stand-in; the rest of the example stays as it is.
"""

from collections.abc import Callable
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult

Turn = AIMessage | Callable[[list[BaseMessage]], AIMessage]


class StandIn(BaseChatModel):
    """A chat model that follows a script."""

    script: list[Any]

    @property
    def _llm_type(self) -> str:
        return "stand-in"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        """Ignore the tools: the script names them."""
        return self

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        turn: Turn = self.script.pop(0)
        message = turn(messages) if callable(turn) else turn
        return ChatResult(generations=[ChatGeneration(message=message)])


def call(tool: str, **arguments: Any) -> AIMessage:
    """A turn in which the model calls a tool."""
    return AIMessage("", tool_calls=[{"name": tool, "args": arguments, "id": f"call_{tool}"}])
