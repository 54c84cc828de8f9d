"""One image on its way from ``planned`` to ``saved``. The ledger has each transition before anything relies on it."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..errors import APIMasterError, DownloadError, LedgerError, ResultExpiredError
from ..results import GeneratedImage, ImageResult, Progress, Task
from .error_actions import ErrorAction, action_after_task, action_before_task
from .items import BatchItem, State
from .ledger_records import Transition
from .ledger_writer import LedgerWriter

if TYPE_CHECKING:
    from .. import AsyncAPIMaster

IMAGES: Final = "images"
_DOWNLOAD_RETRIES: Final = 3
_MIN_FREE_BYTES: Final = 64 * 1024 * 1024
"""With less free space, a picture that can't be written means a full disk, and no passing fault."""


@dataclass(slots=True)
class RunContext:
    """What the image jobs of a run share.

    Attributes:
        client: waits and downloads.
        directory: the batch's folder.
        ledger: the folder's ledger, open.
        timeout: seconds for one image; None: by resolution.
        on_transition: called after each change of state, with the image as it was before.
        on_submit_end: called when a submit was answered and the answer is on disk, with whether it was accepted.
    """

    client: AsyncAPIMaster
    directory: Path
    ledger: LedgerWriter
    timeout: float | None
    on_transition: Callable[[ImageJob, BatchItem], None]
    on_submit_end: Callable[[ImageJob, bool], None]
    submitting_client: AsyncAPIMaster = field(init=False)
    """The same client without repeated submits: the batch answers refusals for all images together."""

    def __post_init__(self) -> None:
        self.submitting_client = self.client.with_options(purchase_retries=0)

    @property
    def max_retries(self) -> int:
        """How often an image is submitted again after the gateway failed it, unbilled."""
        return self.client.retry_policy.max_retries

    def backoff(self, attempt: int) -> float:
        """Seconds before the retry that follows failed attempt number ``attempt``."""
        return self.client.retry_policy.backoff(attempt)


@dataclass(slots=True, eq=False)
class ImageJob:
    """One image.

    Attributes:
        item: the image as the ledger has it.
        failed_submits: submits in this run that the gateway failed.
        submitting: the asyncio task of the submit, while it goes on.
    """

    item: BatchItem
    failed_submits: int = 0
    submitting: asyncio.Task[None] | None = None

    async def run(self, context: RunContext) -> tuple[ErrorAction, APIMasterError] | None:
        """Take the image to ``saved``: None, or the error that is in the way and what to do about it."""
        try:
            result = await (self._submit(context) if self.item.state == "planned" else self._wait(context))
        except LedgerError:
            raise
        except APIMasterError as error:
            if self.item.state == "submitting" and not isinstance(error, DownloadError):
                return action_before_task(error), error
            return await self._download_again(context, error)
        await self._record_saved(context, result)
        return None

    async def _submit(self, context: RunContext) -> ImageResult:
        now = time.time()
        cleared = {"submitted_at": now, "task": None, "error": None, "error_type": None, "billed": "no"}
        await self._record(context, "submitting", durable=True, **cleared)
        return await context.submitting_client.generate(
            self.item.request, save_to=self._path(context), timeout=context.timeout, on_progress=self._listener(context)
        )

    async def _wait(self, context: RunContext, task: Task | None = None) -> ImageResult:
        task = task or self.item.task
        assert task is not None  # it is submitted or delivered
        return await context.client.wait(
            task, save_to=self._path(context), timeout=context.timeout, on_progress=self._listener(context)
        )

    async def _download_again(
        self, context: RunContext, error: APIMasterError
    ) -> tuple[ErrorAction, APIMasterError] | None:
        """Try to fetch the picture again, which is free, before this run gives up on it."""
        for attempt in range(_DOWNLOAD_RETRIES):
            if not isinstance(error, DownloadError):
                break
            if shutil.disk_usage(context.directory).free < _MIN_FREE_BYTES:
                return "stop", error  # the disk could not hold any further picture either
            if self.item.state == "submitting":  # the picture came with the answer to the submit
                await self._record_delivered(context, Task(id="", model=self.item.request.model), error.images)
            task = self.item.task
            if isinstance(error, ResultExpiredError):
                if attempt or task is None or not task.id:
                    break
                # The task may answer with a new URL.
                task = task.model_copy(update={"status": "running", "images": ()})
            elif task is None or not any(image.url or image.has_bytes for image in task.images):
                break
            else:
                await asyncio.sleep(context.backoff(attempt + 1))
            try:
                result = await self._wait(context, task)
            except APIMasterError as again:
                error = again
            else:
                await self._record_saved(context, result)
                return None
        return action_after_task(error), error

    # --- transitions ----------------------------------------------------------------------------------

    def _listener(self, context: RunContext) -> Callable[[Progress], Awaitable[None] | None]:
        """Records what the client's progress says about this image."""

        def on_progress(progress: Progress) -> Awaitable[None] | None:
            task, state = progress.task, self.item.state
            if progress.stage == "downloading" and progress.image is not None and state != "delivered":
                known = task or Task(id="", model=self.item.request.model)
                images = task.images if task is not None else (progress.image,)
                return self._record_delivered(context, known, images)
            if task is not None and state == "submitting" and progress.stage in ("queued", "running"):
                return self._record_submitted(context, task)
            return None

        return on_progress

    async def _record_submitted(self, context: RunContext, task: Task) -> None:
        await self._record(context, "submitted", durable=True, task=task, billed="yes")
        context.on_submit_end(self, True)

    async def _record_delivered(self, context: RunContext, task: Task, images: tuple[GeneratedImage, ...]) -> None:
        from_submit = self.item.state == "submitting"
        done = task.model_copy(update={"status": "succeeded", "images": images, "request": self.item.request})
        if not done.id and not all(image.url for image in images):
            return  # the only copy of the picture is in memory: the submit ends when that is saved
        await self._record(context, "delivered", durable=from_submit, task=done, billed="yes")
        if from_submit:
            context.on_submit_end(self, True)

    async def _record_saved(self, context: RunContext, result: ImageResult) -> None:
        image = result.images[0]
        more = [f"the task gave another picture: {_relative(context, each)}" for each in result.images[1:]]
        await asyncio.to_thread(_flush_to_disk, [Path(each.path) for each in result.images if each.path is not None])
        before = self.item.state
        await self._record(
            context,
            "saved",
            billed="yes",
            path=_relative(context, image),
            media_type=image.media_type,
            width=image.width,
            height=image.height,
            deviations=(*image.deviations, *more),
            error=None,
            error_type=None,
            finished_at=time.time(),
        )
        if before == "submitting":
            context.on_submit_end(self, True)

    async def record_end(self, context: RunContext, state: State, error: APIMasterError) -> None:
        """Record that the image failed, or that its outcome is unknown."""
        billed = error.billed if state == "unknown" else "no"
        task = error.task if error.task is not None and error.task.id else self.item.task
        await self._record(
            context, state, durable=True, **_error_fields(error), billed=billed, finished_at=time.time(), task=task
        )
        context.on_submit_end(self, False)

    async def record_planned_again(self, context: RunContext, error: APIMasterError) -> None:
        """Record that nothing was charged, so that the image may be submitted again."""
        await self._record(context, "planned", **_error_fields(error))
        context.on_submit_end(self, False)

    async def record_kept(self, context: RunContext, error: APIMasterError) -> None:
        """Record the error of an image that is paid for: it keeps its state, and a later run picks it up."""
        await self._record(context, self.item.state, **_error_fields(error), billed="yes")

    async def _record(self, context: RunContext, state: State, *, durable: bool = False, **fields: Any) -> None:
        await context.ledger.write(Transition(self.item.id, state, fields, durable))
        before = self.item
        more = {"attempts": before.attempts + 1} if state == "submitting" else {}
        self.item = before.changed(state=state, **fields, **more)
        context.on_transition(self, before)

    def _path(self, context: RunContext) -> Path:
        return context.directory / IMAGES / f"{self.item.id}.png"  # the client changes the ending to fit the bytes


def _relative(context: RunContext, image: GeneratedImage) -> str:
    return Path(image.path or "").relative_to(context.directory).as_posix()


def _error_fields(error: APIMasterError) -> dict[str, Any]:
    return {"error": error.message, "error_type": type(error).__name__}


def _flush_to_disk(paths: list[Path]) -> None:
    """Flush the pictures to the disk before the ledger calls them saved."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            if os.name != "nt":
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
