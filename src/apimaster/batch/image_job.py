"""One image on its way from ``planned`` to ``saved``: bought with the key of its line, like any purchase.

The client writes each step into the ledger before anything relies on it. What the batch adds: it collects what is paid
for by the task alone, it downloads again before it gives up, and it says what became of an image that it gives up.

A picture that came inside the reply, without a task and a URL, is nowhere but in the memory of the process that bought
it until it is saved. A run does not end before that. Another process, which took the first one for dead, can only look
whether the file is there; if the first one is alive, it still records its picture.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..errors import APIMasterError, BudgetExceededError, DownloadError, LedgerError, ResultExpiredError
from ..ledger.purchase import failure_json, images_json
from ..ledger.rows import Row
from ..ledger.steps import Delivered, Ended, Release, Take
from ..results import GeneratedImage, Progress, Task
from .error_actions import ErrorAction, action_after_task, action_before_task
from .items import IMAGES, BatchItem, State
from .pictures import picture_on_disk
from .purchased import picture_fields
from .run_context import RunContext

if TYPE_CHECKING:
    from ..ledger import Ledger

_DOWNLOAD_RETRIES: Final = 3
_MIN_FREE_BYTES: Final = 64 * 1024 * 1024
"""With less free space, a picture that can't be written means a full disk, and no passing fault."""


@dataclass(slots=True, eq=False)
class ImageJob:
    """One image.

    Attributes:
        item: the image, as far as this process knows.
        key: its idempotency key.
        claim: the process's claim on it; None while a call of the client has it, and after its end.
        failed_submits: submits in this run that the gateway failed.
        submitting: the asyncio task of the submit, while it goes on.
        holds_picture: whether this process holds the only copy of a picture that is paid for.
    """

    item: BatchItem
    key: str
    claim: str | None
    failed_submits: int = 0
    submitting: asyncio.Task[None] | None = None
    holds_picture: bool = False
    _decided: ErrorAction | None = None

    async def run(self, context: RunContext) -> tuple[ErrorAction, APIMasterError] | None:
        """Take the image to ``saved``: None, or the error that is in the way and what to do about it."""
        try:
            if self.item.state == "planned":
                return await self._buy(context)
            task = self.item.task
            if task is None or (not task.id and not any(image.url for image in task.images)):
                return await self._find_on_disk(context)
            return await self._collect(context, task)
        finally:
            self.holds_picture = False

    async def _buy(self, context: RunContext) -> tuple[ErrorAction, APIMasterError] | None:
        more = {"submitted_at": time.time(), "attempts": self.item.attempts + 1, "billed": "no"}
        self.item = self.item.changed(state="submitting", task=None, error=None, error_type=None, **more)
        self._decided = None
        client = context.submitting_client.with_options(plan_again=partial(self._plan_again, context))
        try:
            result = await client.generate(
                self.item.request,
                save_to=self._path(context),
                timeout=context.timeout,
                on_progress=partial(self._on_progress, context),
                idempotency_key=self.key,
                budget=context.budget,
            )
        except APIMasterError as error:
            return await self._after_failed_buy(context, error)
        self._saved(context, result.images)
        return None

    def _plan_again(self, context: RunContext, error: APIMasterError) -> bool:
        """Whether the ledger keeps the image planned after an error that cost nothing."""
        self._decided = context.decide(self, error)
        return self._decided != "fail"

    async def _after_failed_buy(
        self, context: RunContext, error: APIMasterError
    ) -> tuple[ErrorAction, APIMasterError] | None:
        if self._decided is not None:  # the client has recorded what was decided
            self.claim = None
            return self._decided, error
        if error.billed == "no" and self.item.state == "submitting":
            # Refused before the ledger let the request out, so the process still has its claim.
            self.item = self.item.changed(attempts=self.item.attempts - 1)
            return "over_budget" if isinstance(error, BudgetExceededError) else context.decide(self, error), error
        self.claim = None
        if isinstance(error, DownloadError):
            return await self._download_again(context, error)
        if self.item.state == "submitting":
            return action_before_task(error), error
        return action_after_task(error), error

    async def _find_on_disk(self, context: RunContext) -> tuple[ErrorAction, APIMasterError] | None:
        """A picture that came inside a reply to another process: that may have saved it before it ended."""
        found = await asyncio.to_thread(picture_on_disk, context.directory, self.item.id)
        if found is None:
            return "mark_unknown", ResultExpiredError("The picture came inside the gateway's reply, and was not saved.")
        await self._record_saved(context, (found,))
        self._saved(context, (found,))
        return None

    async def _record_saved(self, context: RunContext, images: Sequence[GeneratedImage]) -> None:
        """Record the pictures of an image that has no task: the client did not."""
        if self.claim is not None:
            made = images_json(tuple(images))
            await context.take(Delivered(key=self.key, claim=self.claim, images=made, saved=True))
            self.claim = None

    async def _collect(self, context: RunContext, task: Task) -> tuple[ErrorAction, APIMasterError] | None:
        try:
            await self._wait(context, task)
        except LedgerError:
            raise
        except APIMasterError as error:
            return await self._download_again(context, error)
        return None

    async def _wait(self, context: RunContext, task: Task) -> None:
        result = await context.client.wait(
            task.model_copy(update={"request": self.item.request}),
            save_to=self._path(context),
            timeout=context.timeout,
            on_progress=partial(self._on_progress, context),
        )
        if task.id:  # the client has recorded the pictures of the task
            await self._give_back(context)
        else:
            await self._record_saved(context, result.images)
        self._saved(context, result.images)

    async def _download_again(
        self, context: RunContext, error: APIMasterError
    ) -> tuple[ErrorAction, APIMasterError] | None:
        """Try to fetch the picture again, which is free, before this run gives up on it."""
        task = self.item.task
        for attempt in range(_DOWNLOAD_RETRIES):
            if not isinstance(error, DownloadError):
                break
            if shutil.disk_usage(context.directory).free < _MIN_FREE_BYTES:
                return "stop", error  # the disk could not hold any further picture either
            task = error.task or task or Task(id="", model=self.item.request.model)
            if isinstance(error, ResultExpiredError):
                if attempt or not task.id:
                    break
                # The task may answer with a new URL.
                task = task.model_copy(update={"status": "running", "images": ()})
            else:
                images = error.images or task.images
                if not any(image.url or image.has_bytes for image in images):
                    break
                task = task.model_copy(update={"status": "succeeded", "images": images})
                await asyncio.sleep(context.backoff(attempt + 1))
            if self.claim is None and not await self.take(context.ledger):
                return "keep", error  # another process fetches it
            try:
                await self._wait(context, task)
            except APIMasterError as again:
                error = again
            else:
                return None
        lost = task is not None and not task.id and not any(image.url for image in task.images)
        return "mark_unknown" if lost and isinstance(error, DownloadError) else action_after_task(error), error

    # --- in the ledger --------------------------------------------------------------------------------

    async def take(self, ledger: Ledger) -> bool:
        """Take the image for this process again. False: another process has it, or it has ended."""
        row: Row | None = await asyncio.wrap_future(ledger.take(Take(key=self.key)))
        if row is None or row.claim is None:
            return False
        self.claim = row.claim
        self.item = self.item.changed(attempts=row.attempts, sunk=row.sunk)
        return True

    async def record_failed(self, context: RunContext, error: APIMasterError) -> None:
        """Record that the image failed, unless the client has done so."""
        await self._end(context, "failed", error)

    async def record_unknown(self, context: RunContext, error: APIMasterError) -> None:
        """Record that the image is paid for, or may be, and that there is no picture.

        The client has done so if it was about a request without a reply; by now, somebody may know more.
        """
        if self.item.state == "submitting":
            return
        if self.claim is not None or await self.take(context.ledger):
            await self._end(context, "unknown", error)

    async def record_kept(self, context: RunContext, error: APIMasterError) -> None:
        """Record the error of an image that keeps its state; a later run, or another process, picks it up."""
        await self._give_back(context, failure_json(error, prompts=context.ledger.store_prompts))

    async def _end(self, context: RunContext, state: Any, error: APIMasterError) -> None:
        if self.claim is not None:
            text = failure_json(error, prompts=context.ledger.store_prompts)
            task_id = self.item.task.id or None if self.item.task is not None else None
            try:
                await context.take(Ended(key=self.key, claim=self.claim, state=state, error=text, task_id=task_id))
            except LedgerError:
                # A process that was taken for dead has come back and has saved its picture.
                purchase = await asyncio.to_thread(context.ledger.get, self.key)
                if purchase is None or purchase.state != "saved":
                    raise
                await self._give_back(context)
            self.claim = None

    async def _give_back(self, context: RunContext, error: str | None = None) -> None:
        if self.claim is not None:
            await context.take(Release(key=self.key, claim=self.claim, error=error))
            self.claim = None

    # --- what this process knows ----------------------------------------------------------------------

    def _on_progress(self, context: RunContext, progress: Progress) -> None:
        """Note how far the image is; the ledger knows it already."""
        before = self.item.state
        if progress.stage == "downloading":
            self._note("delivered", progress)
            has_task = progress.task is not None and progress.task.id
            self.holds_picture = not has_task and progress.image is not None and progress.image.url is None
        elif progress.task is not None and progress.stage in ("queued", "running", "failed"):
            self._note("submitted", progress)
        else:
            return
        if before == "submitting":
            context.on_submit_end(self, True)

    def _note(self, state: State, progress: Progress) -> None:
        self.item = self.item.changed(state=state, task=progress.task or self.item.task, billed="yes")

    def _saved(self, context: RunContext, images: Sequence[GeneratedImage]) -> None:
        before = self.item.state
        self.claim = None
        self.item = self.item.changed(
            state="saved",
            billed="yes",
            error=None,
            error_type=None,
            finished_at=time.time(),
            **picture_fields(images),
        )
        if before == "submitting":
            context.on_submit_end(self, True)

    def _path(self, context: RunContext) -> Path:
        return context.directory / IMAGES / f"{self.item.id}.png"  # the client changes the ending to fit the bytes
