"""All tools over one client, one store and one budget."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.tools import BaseTool, BaseToolkit
from pydantic import ConfigDict, PrivateAttr
from typing_extensions import Self

from .base import ImageTool
from .budget import Budget
from .options import NOT_PICKLED, Options
from .records import StoredImage
from .studio import Studio
from .tools import (
    APIMasterEditImageTool,
    APIMasterGenerateImageTool,
    APIMasterImageTaskTool,
    APIMasterSubmitImageTool,
)

if TYPE_CHECKING:
    from types import TracebackType


class APIMasterToolkit(Options, BaseToolkit):
    """Image tools for an agent.

    Example:
        ``create_agent(chat_model, APIMasterToolkit(store="pictures", budget_usd=1).get_tools())``
    """

    # Said again: the other base class would ignore what it does not know, and a misspelt option with it.
    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid", defer_build=True)

    _studio: Studio = PrivateAttr()

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._studio = Studio(self)

    def get_tools(self) -> list[BaseTool]:
        """``generate_image``, ``edit_image``, ``submit_image`` and ``get_image``.

        ``edit_image`` is left out where the model may not name reference images and the application names none.
        """
        choices = self._studio.choices
        options: dict[str, Any] = {name: getattr(self, name) for name in self.model_fields_set}
        kinds: list[type[ImageTool]] = [
            APIMasterGenerateImageTool,
            *([APIMasterEditImageTool] if choices.can_refer else []),
            APIMasterSubmitImageTool,
            APIMasterImageTaskTool,
        ]
        return [kind(studio=self._studio, **options) for kind in kinds]

    def image(self, id: str) -> StoredImage:  # noqa: A002  # the word that models and people use
        """The picture behind an id, from this or an earlier process that used the same store. Blocks.

        Raises:
            KeyError: the store does not have it.
        """
        found = self._studio.store.image(id)
        if found is None:
            raise KeyError(f"the store at {self._studio.store.place} has no picture {id!r}")
        return found

    def read(self, id: str) -> bytes:  # noqa: A002  # the same
        """The bytes of a picture of the store. Blocks.

        Raises:
            KeyError: the store does not have it.
        """
        content = self._studio.store.content(self.image(id))
        return content if isinstance(content, bytes) else content.read_bytes()

    @property
    def budget(self) -> Budget:
        """What was spent, and what is left."""
        return self._studio.budget

    def close(self) -> None:
        """Close the blocking client, unless the application gave it. The next call would open another."""
        self._studio.close()

    async def aclose(self) -> None:
        """Close the clients, unless the application gave them."""
        await self._studio.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __getstate__(self) -> dict[Any, Any]:
        """Without the key and without connections, like its tools."""
        state = dict(super().__getstate__())
        state["__dict__"] = {**state["__dict__"], **dict.fromkeys(NOT_PICKLED)}
        return state
