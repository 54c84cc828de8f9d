"""Image tools for LangChain and LangGraph: Nano Banana 2 and what else APIMaster serves."""

# The heavy import goes first, and from here: two modules further down it takes a seventh longer. CPython 3.11 takes the
# memory of call frames in chunks, and a busy function whose frame begins a new one takes and returns it at each call;
# pydantic's inspection of LangChain's models happens to lie there.
import langchain_core.tools.base  # noqa: F401

from .budget import Budget
from .messages import ImageToolError
from .records import StoredImage
from .toolkit import APIMasterToolkit
from .tools import (
    APIMasterEditImageTool,
    APIMasterGenerateImageTool,
    APIMasterImageTaskTool,
    APIMasterSubmitImageTool,
)

__all__ = [
    "APIMasterEditImageTool",
    "APIMasterGenerateImageTool",
    "APIMasterImageTaskTool",
    "APIMasterSubmitImageTool",
    "APIMasterToolkit",
    "Budget",
    "ImageToolError",
    "StoredImage",
]
