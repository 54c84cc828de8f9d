"""Image tools for LangChain and LangGraph: Nano Banana 2 and what else APIMaster serves."""

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
