"""The asyncio client: the blocking one, with ``await``. What the methods do is described there."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._base_client import BaseClient
from ._flows import download, generation
from ._flows.generation import Mode, OnProgress
from .catalog import DEFAULT_MODEL
from .request import ImageRequest, ReferenceLike, Webhook
from .results import GeneratedImage, ImageResult, Task

if TYPE_CHECKING:
    from types import TracebackType

    import httpx
    from pydantic import SecretStr
    from typing_extensions import Self

    from ._drivers.aio import AsyncTransport


class AsyncAPIMaster(BaseClient):
    """A client for the APIMaster image endpoint on asyncio. One can be shared by many tasks.

    Arguments and errors are those of ``APIMaster``, but for these:

    Args:
        http_client: an ``httpx.AsyncClient`` of your own; it is not closed with this one.
        transport: ``"httpx"``, or ``"aiohttp"`` with the extra of that name, which costs less CPU per request.

    It may be used from several event loops, one after the other or at the same time: each has connections of its own,
    which are closed when the loop ends. ``aclose`` closes them all. ``on_progress`` may be a plain function or an async
    one.
    """

    _takes_async_callbacks = True

    def __init__(
        self,
        api_key: str | SecretStr | None = None,
        *,
        base_url: str | None = None,
        model: str = DEFAULT_MODEL,
        timeout: float | None = None,
        max_retries: int = 3,
        http_client: httpx.AsyncClient | None = None,
        max_polls_per_second: float | None = None,
        transport: AsyncTransport = "httpx",
    ) -> None:
        super().__init__(api_key, base_url, model, timeout, max_retries, max_polls_per_second)
        from ._drivers.aio import AsyncDriver  # brings asyncio along, which takes as long to import as all of this

        self._driver = AsyncDriver(self._codec, http_client, transport)

    async def generate(
        self,
        prompt: str | ImageRequest,
        *,
        model: str | None = None,
        aspect_ratio: str | None = None,
        resolution: str | None = None,
        n: int | None = None,
        references: Sequence[ReferenceLike] | None = None,
        google_search: bool | None = None,
        google_image_search: bool | None = None,
        mode: Mode = "auto",
        save_to: str | os.PathLike[str] | None = None,
        client_reference_id: str | None = None,
        webhook: str | Webhook | None = None,
        extra_body: dict[str, Any] | None = None,
        timeout: float | None = None,
        on_progress: OnProgress | None = None,
    ) -> ImageResult:
        """Make ``n`` images and wait for them: see ``APIMaster.generate``."""
        request = self._request(
            prompt,
            model=model,
            aspect_ratio=aspect_ratio,
            resolution=resolution,
            n=n,
            references=references,
            google_search=google_search,
            google_image_search=google_image_search,
            client_reference_id=client_reference_id,
            webhook=webhook,
            extra_body=extra_body,
        )
        options = self._call_options(timeout, save_to, on_progress)
        return await self._driver.run(generation.generate(self._context, request, self._mode(mode), options))

    async def submit(
        self,
        prompt: str | ImageRequest,
        *,
        model: str | None = None,
        aspect_ratio: str | None = None,
        resolution: str | None = None,
        references: Sequence[ReferenceLike] | None = None,
        google_search: bool | None = None,
        google_image_search: bool | None = None,
        client_reference_id: str | None = None,
        webhook: str | Webhook | None = None,
        extra_body: dict[str, Any] | None = None,
        timeout: float | None = None,
        on_progress: OnProgress | None = None,
    ) -> Task:
        """Hand in one image and come back at once with its task: see ``APIMaster.submit``."""
        request = self._request(
            prompt,
            model=model,
            aspect_ratio=aspect_ratio,
            resolution=resolution,
            n=1,
            references=references,
            google_search=google_search,
            google_image_search=google_image_search,
            client_reference_id=client_reference_id,
            webhook=webhook,
            extra_body=extra_body,
        )
        options = self._call_options(timeout, None, on_progress)
        return await self._driver.run(generation.submit(self._context, request, options))

    async def retrieve(self, task_id: str | Task, *, model: str | None = None) -> Task:
        """Look at a task once: see ``APIMaster.retrieve``."""
        return await self._driver.run(generation.retrieve(self._context, self._task(task_id, model), self._ask_timeout))

    async def wait(
        self,
        task_or_id: Task | str,
        *,
        model: str | None = None,
        timeout: float | None = None,
        save_to: str | os.PathLike[str] | None = None,
        on_progress: OnProgress | None = None,
    ) -> ImageResult:
        """Wait for a task that was submitted here, earlier, or in another process: see ``APIMaster.wait``."""
        options = self._call_options(timeout, save_to, on_progress)
        return await self._driver.run(generation.wait(self._context, self._task(task_or_id, model), options))

    async def download(self, image: GeneratedImage, path: str | os.PathLike[str]) -> Path | str:
        """Save a picture: see ``APIMaster.download``."""
        return await self._driver.run(download.download(self._context, image, self._target(path)))

    async def read(self, image: GeneratedImage) -> bytes:
        """The bytes of a picture, checked to be whole: see ``APIMaster.read``."""
        return await self._driver.run(download.read(self._context, image))

    async def models(self) -> list[str]:
        """The model ids that the gateway lists now: see ``APIMaster.models``."""
        return await self._driver.run(generation.models(self._context, self._ask_timeout))

    async def aclose(self) -> None:
        """Close the connections, on all event loops. Closing twice does no harm."""
        await self._driver.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
