"""One image on its way through the ledger. Each method writes the step down first, then says that it happened."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..errors import APIMasterError, DownloadError, ResultExpiredError
from ..results import GeneratedImage, ImageResult, Progress, Task
from .items import BatchItem, State
from .journal import Journal
from .steps import LedgerError, Step
from .verdicts import Verdict, after_task, before_task

if TYPE_CHECKING:
    from .. import AsyncAPIMaster

IMAGES: Final = "images"
_FETCHES: Final = 3
_LEAST_SPACE: Final = 64 * 1024 * 1024
"""Bytes that must be free for a picture that could not be written to be taken for a passing fault."""


@dataclass(slots=True)
class Tools:
    """What all jobs of a run share.

    Attributes:
        client: waits and downloads.
        directory: the batch's folder.
        journal: the ledger.
        timeout: seconds for one image; None: by resolution.
        moved: told of each change of state, with the image as it was.
        submit_over: told when a submit was answered and the answer is on disk.
    """

    client: AsyncAPIMaster
    directory: Path
    journal: Journal
    timeout: float | None
    moved: Callable[[Job, BatchItem], None]
    submit_over: Callable[[Job, bool], None]
    buyer: AsyncAPIMaster = field(init=False)
    """The same client without repeats of its own: the batch answers refusals for all images together."""

    def __post_init__(self) -> None:
        self.buyer = self.client.with_options(purchase_retries=0)

    @property
    def retries(self) -> int:
        """How often an image is submitted again after the gateway failed it, unbilled."""
        return self.client.retry_policy.max_retries

    def pause(self, tries: int) -> float:
        """Seconds before an image is submitted again after the gateway failed it ``tries`` times."""
        return self.client.retry_policy.backoff(tries)


@dataclass(slots=True, eq=False)
class Job:
    """One image.

    Attributes:
        item: the image as the ledger has it.
        tries: submits that the gateway failed, in this run.
        submitting: the asyncio task of the submit, while it goes on.
    """

    item: BatchItem
    tries: int = 0
    submitting: asyncio.Task[None] | None = None

    async def run(self, tools: Tools) -> tuple[Verdict, APIMasterError | None]:
        """From where it stands to ``saved``, or to the error that is in the way and what it means."""
        try:
            if self.item.state == "planned":
                result = await self._buy(tools)
            else:
                result = await self._collect(tools)
        except LedgerError:
            raise
        except APIMasterError as error:
            if self.item.state == "submitting" and not isinstance(error, DownloadError):
                return before_task(error), error
            return await self._fetch_again(tools, error)
        await self._saved(tools, result)
        return "kept", None

    async def _buy(self, tools: Tools) -> ImageResult:
        now = time.time()
        cleared = {"submitted_at": now, "task": None, "error": None, "error_type": None, "billed": "no"}
        await self._step(tools, "submitting", durable=True, **cleared)
        return await tools.buyer.generate(
            self.item.request, save_to=self._place(tools), timeout=tools.timeout, on_progress=self._listener(tools)
        )

    async def _collect(self, tools: Tools) -> ImageResult:
        task = self.item.task
        assert task is not None  # it is submitted or delivered
        return await tools.client.wait(
            task, save_to=self._place(tools), timeout=tools.timeout, on_progress=self._listener(tools)
        )

    async def _fetch_again(self, tools: Tools, error: APIMasterError) -> tuple[Verdict, APIMasterError | None]:
        """Looking and fetching are free: the picture is asked for again before it is given up for this run."""
        for attempt in range(_FETCHES):
            if not isinstance(error, DownloadError):
                break
            if shutil.disk_usage(tools.directory).free < _LEAST_SPACE:
                return "stop", error  # further pictures would be paid for and could not be kept either
            if self.item.state == "submitting":  # it came with the answer to the submit
                await self._delivered(tools, Task(id="", model=self.item.request.model), error.images)
            known = self.item.task
            if isinstance(error, ResultExpiredError):
                if attempt or known is None or not known.id:
                    break
                # The task may answer with a new URL.
                known = known.model_copy(update={"status": "running", "images": ()})
            elif known is None or not any(image.url or image.has_bytes for image in known.images):
                break
            else:
                await asyncio.sleep(tools.pause(attempt + 1))
            try:
                result = await tools.client.wait(
                    known, save_to=self._place(tools), timeout=tools.timeout, on_progress=self._listener(tools)
                )
            except APIMasterError as again:
                error = again
            else:
                await self._saved(tools, result)
                return "kept", None
        return after_task(error), error

    # --- steps ----------------------------------------------------------------------------------------

    def _listener(self, tools: Tools) -> Callable[[Progress], Awaitable[None] | None]:
        def listen(progress: Progress) -> Awaitable[None] | None:
            task, state = progress.task, self.item.state
            if progress.stage == "downloading" and progress.image is not None and state != "delivered":
                known = task or Task(id="", model=self.item.request.model)
                return self._delivered(tools, known, task.images if task is not None else (progress.image,))
            if task is not None and state == "submitting" and progress.stage in ("queued", "running"):
                return self._submitted(tools, task)
            return None

        return listen

    async def _submitted(self, tools: Tools, task: Task) -> None:
        await self._step(tools, "submitted", durable=True, task=task, billed="yes")
        tools.submit_over(self, True)

    async def _delivered(self, tools: Tools, task: Task, images: tuple[GeneratedImage, ...]) -> None:
        fresh = self.item.state == "submitting"
        done = task.model_copy(update={"status": "succeeded", "images": images, "request": self.item.request})
        if not done.id and not all(image.url for image in images):
            return  # its only copy is in memory: the submit is not over before that is saved
        await self._step(tools, "delivered", durable=fresh, task=done, billed="yes")
        if fresh:
            tools.submit_over(self, True)

    async def _saved(self, tools: Tools, result: ImageResult) -> None:
        image = result.images[0]
        more = [f"the task gave another picture: {self._relative(tools, each)}" for each in result.images[1:]]
        await asyncio.to_thread(_flush, [Path(each.path) for each in result.images if each.path is not None])
        before = self.item.state
        await self._step(
            tools,
            "saved",
            billed="yes",
            path=self._relative(tools, image),
            media_type=image.media_type,
            width=image.width,
            height=image.height,
            deviations=(*image.deviations, *more),
            error=None,
            error_type=None,
            finished_at=time.time(),
        )
        if before == "submitting":
            tools.submit_over(self, True)

    async def end(self, tools: Tools, state: State, error: APIMasterError) -> None:
        """It failed, or nobody knows."""
        billed = error.billed if state == "unknown" else "no"
        await self._step(
            tools, state, durable=True, **_facts(error), billed=billed, finished_at=time.time(), task=self._task(error)
        )
        tools.submit_over(self, False)

    async def put_back(self, tools: Tools, error: APIMasterError) -> None:
        """Nothing was charged: it may be submitted again."""
        await self._step(tools, "planned", **_facts(error))
        tools.submit_over(self, False)

    async def keep(self, tools: Tools, error: APIMasterError) -> None:
        """It is paid for and stays where it is; a later run picks it up."""
        await self._step(tools, self.item.state, **_facts(error), billed="yes")

    def _task(self, error: APIMasterError) -> Task | None:
        task = self.item.task if error.task is None else error.task
        return task if task is not None and task.id else self.item.task

    async def _step(self, tools: Tools, state: State, *, durable: bool = False, **fields: Any) -> None:
        await tools.journal.write(Step(self.item.id, state, fields, durable))
        before = self.item
        more = {"attempts": before.attempts + 1} if state == "submitting" else {}
        self.item = before.changed(state=state, **fields, **more)
        tools.moved(self, before)

    def _place(self, tools: Tools) -> Path:
        return tools.directory / IMAGES / f"{self.item.id}.png"  # the ending follows the bytes

    def _relative(self, tools: Tools, image: GeneratedImage) -> str:
        return Path(image.path or "").relative_to(tools.directory).as_posix()


def _facts(error: APIMasterError) -> dict[str, Any]:
    return {"error": error.message, "error_type": type(error).__name__}


def _flush(paths: list[Path]) -> None:
    """Have the pictures on the platter before the ledger calls them saved."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            if os.name != "nt":
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
