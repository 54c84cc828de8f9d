"""The toolkit: all tools, with one client, one store, one ledger and one budget between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.tools import BaseTool, BaseToolkit
from pydantic import PrivateAttr
from typing_extensions import Self

from .base import ImageTool
from .budget import Budget
from .context import ToolContext
from .options import CONFIG, Options
from .records import StoredImage
from .tools import (
    APIMasterEditImageTool,
    APIMasterGenerateImageTool,
    APIMasterImageTaskTool,
    APIMasterSubmitImageTool,
)

if TYPE_CHECKING:
    from types import TracebackType

    from apimaster.ledger import Ledger


class APIMasterToolkit(Options, BaseToolkit):
    """Image tools for an agent.

    Example:
        ``create_agent(chat_model, APIMasterToolkit(store="pictures", budget_usd=1).get_tools())``
    """

    # Repeated here, because the other base class would ignore unknown options, and so a misspelt one.
    model_config = CONFIG

    _context: ToolContext = PrivateAttr()

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._context = ToolContext(self, "toolkit")

    def get_tools(self) -> list[BaseTool]:
        """``generate_image``, ``edit_image``, ``submit_image`` and ``get_image``.

        There is no ``edit_image`` if the model may not name reference images and the application sets none.
        """
        options: dict[str, Any] = {name: getattr(self, name) for name in self.model_fields_set}
        kinds: list[type[ImageTool]] = [
            APIMasterGenerateImageTool,
            *([APIMasterEditImageTool] if self._context.policy.allows_references else []),
            APIMasterSubmitImageTool,
            APIMasterImageTaskTool,
        ]
        return [kind(context=self._context, **options) for kind in kinds]

    def image(self, id: str) -> StoredImage:  # noqa: A002  # the word that models and callers use
        """The picture with this id, made by any process that used the same store. Blocks.

        Raises:
            KeyError: the store does not have it.
        """
        found = self._context.store.image(id)
        if found is None:
            raise KeyError(f"the store at {self._context.store.place} has no picture {id!r}")
        return found

    def read(self, id: str) -> bytes:  # noqa: A002  # the same
        """The bytes of a picture in the store. Blocks.

        Raises:
            KeyError: the store does not have it.
        """
        content = self._context.store.content(self.image(id))
        return content if isinstance(content, bytes) else content.read_bytes()

    @property
    def budget(self) -> Budget:
        """What is spent, and what is left. Its properties read the ledger, so they block."""
        return self._context.budget

    @property
    def open_ledger(self) -> Ledger:
        """The ledger that knows what these tools have bought. Blocks at its first use.

        Raises:
            LedgerError: it can't be opened.
        """
        return self._context.ledger.get()

    def close(self) -> None:
        """Close the blocking client, unless the application gave it. A later call would open another."""
        self._context.close()

    async def aclose(self) -> None:
        """Close the clients, unless the application gave them."""
        await self._context.aclose()

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
        return self.pickled(dict(super().__getstate__()))
