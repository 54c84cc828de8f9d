"""What becomes of a call that failed: text for a model, or an error for the application."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.messages import ToolMessage
from langchain_core.tools import ToolException

from .messages import ImageToolError

if TYPE_CHECKING:
    from pydantic import ValidationError

    from .base import ImageTool


def answer(tool: ImageTool, error: ToolException | ValidationError, call_id: str | None, *, in_batch: bool) -> Any:
    """The text about ``error``, as the tool's ``handle_tool_error`` or ``handle_validation_error`` words it.

    With the id of a tool call it is a ``ToolMessage`` with the status ``error``. Without one, nothing in a batch tells
    such a text from a result; there it is returned only if the application has set the option itself.

    Raises:
        ImageToolError: it is not to be handled.
        ValidationError: the same.
    """
    option = "handle_tool_error" if isinstance(error, ToolException) else "handle_validation_error"
    handler = getattr(tool, option)
    if not handler or (in_batch and call_id is None and option not in tool.model_fields_set):
        raise error
    if callable(handler):
        content = handler(error)
    elif isinstance(handler, str):
        content = handler
    elif isinstance(error, ToolException):
        content = error.args[0] if error.args else "Tool execution error"
    else:
        content = "Tool input validation error"
    if call_id is None:
        return content
    content = content if isinstance(content, (str, list)) else str(content)
    return ToolMessage(content, tool_call_id=call_id, name=tool.name, status="error")


def raise_first(results: list[Any]) -> list[Any]:
    """``results``, if there is no error among them; else the first error, which gets all results."""
    for each in results:
        if isinstance(each, ImageToolError):
            each.results = results
        if isinstance(each, Exception):
            raise each
    return results
