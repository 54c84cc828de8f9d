"""The blocking client. Each method checks its arguments, starts a flow, and hands it to the driver."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._base_client import BaseClient
from ._drivers.sync import SyncDriver
from ._flows import download, generation
from ._flows.generation import Mode, OnProgress
from .catalog import DEFAULT_MODEL
from .errors import BadRequestError
from .request import ImageRequest, ReferenceLike, Webhook
from .results import GeneratedImage, ImageResult, Task

if TYPE_CHECKING:
    from types import TracebackType

    import httpx
    from pydantic import SecretStr
    from typing_extensions import Self

    from .async_client import AsyncAPIMaster


class APIMaster(BaseClient):
    """A client for the APIMaster image endpoint. One can be shared by many threads.

    Args:
        api_key: the key; else ``APIMASTER_API_KEY``, ``APIMASTER_KEY``, or ``~/.apimaster/config.json``.
        base_url: of the gateway, with its ``/v1``; else ``APIMASTER_BASE_URL``, the same file, or the vendor's own.
        model: the model id for calls that name none.
        timeout: seconds for a whole call, waiting included, for calls that name none. None: by resolution,
            300 for 0.5K and 1K, 600 for 2K, 1200 for 4K.
        max_retries: repeats of one request after a fault that provably cost nothing.
        http_client: an ``httpx.Client`` of your own (proxies, certificates, tests); it is not closed with this one.
        max_polls_per_second: for all tasks of this client together; looking is free, and the gateway is shared.

    Raises:
        AuthenticationError: there is no key.
        BadRequestError: the base URL is not one.
    """

    def __init__(
        self,
        api_key: str | SecretStr | None = None,
        *,
        base_url: str | None = None,
        model: str = DEFAULT_MODEL,
        timeout: float | None = None,
        max_retries: int = 3,
        http_client: httpx.Client | None = None,
        max_polls_per_second: float | None = None,
    ) -> None:
        super().__init__(api_key, base_url, model, timeout, max_retries, max_polls_per_second)
        self._driver = SyncDriver(self._codec, http_client)

    def generate(
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
        """Make ``n`` images and wait for them.

        Args:
            prompt: what to draw, or a whole ``ImageRequest``, which the other arguments then change.
            model: see ``ImageRequest``, as for all arguments that are not named here.
            aspect_ratio: see ``ImageRequest``.
            resolution: see ``ImageRequest``.
            n: how many images, 1 unless said; each is a job and a charge of its own.
            references: see ``ImageRequest``.
            google_search: see ``ImageRequest``.
            google_image_search: see ``ImageRequest``.
            mode: ``"auto"`` submits and polls, or makes one shot where the gateway has no async route;
                ``"sync"`` makes one shot; ``"async"`` submits and polls only.
            save_to: a folder, a file, or an fsspec URL. The ending follows the picture's bytes, and no file of
                another picture is overwritten. None: nothing is fetched.
            client_reference_id: see ``ImageRequest``.
            webhook: see ``ImageRequest``.
            extra_body: see ``ImageRequest``.
            timeout: seconds for the whole call.
            on_progress: called with a ``Progress`` at each step; keep its ``task`` to resume later.

        Raises:
            BadRequestError: an argument is not accepted, here or by the gateway. Nothing was charged.
            ContentPolicyError: moderation refused it. Nothing was charged.
            AuthenticationError, PermissionDeniedError, InsufficientBalanceError, NotFoundError, RateLimitError,
            InternalServerError, APIConnectionError, GenerationFailedError: as their names say; nothing was charged.
            OutcomeUnknownError, NoImageError: it may have been charged; don't ask again without looking.
            TaskTimeoutError: the wait ended and the task goes on; ``wait(error.task)`` resumes.
            DownloadError: it is made and paid for, and could not be saved; ``download`` tries again.
        """
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
        return self._driver.run(generation.generate(self._context, request, self._mode(mode), options))

    def submit(
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
        """Hand in one image and come back at once with its task. It is charged now, and refunded if it fails (G).

        Arguments and errors are those of ``generate``; ``timeout`` is for the submit alone.
        """
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
        return self._driver.run(generation.submit(self._context, request, options))

    def retrieve(self, task_id: str | Task, *, model: str | None = None) -> Task:
        """Look at a task once.

        Args:
            task_id: its id, or the task itself.
            model: the model that the task was submitted with; the gateway needs it to find the task (G).

        Raises:
            NotFoundError: the gateway does not know it.
            APIMasterError: the gateway could not be asked. Looking is free.
        """
        return self._driver.run(generation.retrieve(self._context, self._task(task_id, model), self._ask_timeout))

    def wait(
        self,
        task_or_id: Task | str,
        *,
        model: str | None = None,
        timeout: float | None = None,
        save_to: str | os.PathLike[str] | None = None,
        on_progress: OnProgress | None = None,
    ) -> ImageResult:
        """Wait for a task that was submitted here, earlier, or in another process.

        Given an id alone, the result's ``request`` is None, and its ``cost`` is known only if the picture is saved
        (its pixels say the resolution). Errors are those of ``generate`` from the moment there is a task.
        """
        options = self._call_options(timeout, save_to, on_progress)
        return self._driver.run(generation.wait(self._context, self._task(task_or_id, model), options))

    def download(self, image: GeneratedImage, path: str | os.PathLike[str]) -> Path | str:
        """Save a picture: checked to be whole, written beside its place and renamed.

        Args:
            image: from a result, a task, or a ``DownloadError``.
            path: a folder, a file, or an fsspec URL, as for ``save_to``.

        Returns:
            Where it is: the ending follows the bytes, and a name that is taken by another picture gets a number.

        Raises:
            DownloadError: it is paid for and could not be fetched. Fetching again is free.
        """
        return self._driver.run(download.download(self._context, image, self._target(path)))

    def read(self, image: GeneratedImage) -> bytes:
        """The bytes of a picture, checked to be whole.

        Raises:
            DownloadError: it is paid for and could not be fetched. Fetching again is free.
        """
        return self._driver.run(download.read(self._context, image))

    def models(self) -> list[str]:
        """The model ids that the gateway lists now, of all kinds.

        Raises:
            APIMasterError: the gateway could not be asked. Asking is free.
        """
        return self._driver.run(generation.models(self._context, self._ask_timeout))

    def as_async(self) -> AsyncAPIMaster:
        """An asyncio client with the same settings, which shares pacing and what was learned. Close it yourself.

        Raises:
            BadRequestError: this client works through an ``http_client`` of your own, which can't be used on asyncio.
        """
        if self._driver.uses_given_client:
            raise BadRequestError(
                "a client with an http_client of its own can't be used on asyncio",
                advice="Make an AsyncAPIMaster with an httpx.AsyncClient.",
            )
        from .async_client import AsyncAPIMaster

        made = AsyncAPIMaster(self._settings.api_key, base_url=self.base_url, model=self.model, timeout=self._timeout)
        made._context = self._context
        return made

    def close(self) -> None:
        """Close the connections. Closing twice does no harm."""
        self._driver.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
