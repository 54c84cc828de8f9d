"""What comes back: pictures, tasks, failures, progress. JSON-serialisable, and without bytes or a key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, PrivateAttr

from .errors import Billed
from .request import ImageRequest

if TYPE_CHECKING:
    from .errors import APIMasterError

TaskStatus = Literal["queued", "running", "succeeded", "failed"]
Stage = Literal["submitting", "queued", "running", "downloading", "done", "failed"]


class _Frozen(BaseModel):
    # Building the validators waits for the first use: it would be a good part of the import time.
    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)


class GeneratedImage(_Frozen):
    """One delivered picture.

    Attributes:
        url: where the gateway keeps it, for a while; None if the picture came inside the reply.
        expires_at: when ``url`` ends, unix seconds, if the gateway said so.
        task_id: the task that made it, or None after a one-shot call.
        index: its place among the pictures of the call, from 0.
        output_index: its place among the outputs of its own task, from 0.
        path: where it was saved: a local path or an fsspec URL; None if it was not.
        media_type: ``image/png``, ``image/jpeg`` or ``image/webp``, read from the bytes; None until fetched.
        width: pixels, read from the bytes; None until fetched.
        height: pixels, read from the bytes; None until fetched.
        deviations: what differs from what was asked, one sentence each, found when it was fetched.
    """

    url: str | None = None
    expires_at: int | None = None
    task_id: str | None = None
    index: int = 0
    output_index: int = 0
    path: Path | str | None = None
    media_type: str | None = None
    width: int | None = None
    height: int | None = None
    deviations: tuple[str, ...] = ()

    # A picture that came as base64 has no other home until it is saved; JSON and repr never show it.
    _data: bytes | None = PrivateAttr(default=None)

    @property
    def has_bytes(self) -> bool:
        """Whether the picture came inside the reply and is in memory still, so that it can be saved without a URL."""
        return self._data is not None


class Task(_Frozen):
    """An image that the gateway is making. Stored as JSON, it can be collected by another process with ``client.wait``.

    Attributes:
        id: the gateway's id, ``task_…``.
        model: the model id; every poll must name it, or the gateway looks for the task at another model's channel.
        status: ``"queued"``, ``"running"``, ``"succeeded"`` or ``"failed"``.
        progress: percent, 0 to 100, or None where the gateway does not say.
        estimated_time: seconds that the gateway expects the whole job to take, or None.
        images: the pictures, once it has succeeded.
        error: why it failed, if the gateway gave a reason.
        error_code: the gateway's code for that reason, if it gave one.
        request: what was asked for, where this side knows it.
    """

    id: str
    model: str
    status: TaskStatus = "queued"
    progress: float | None = None
    estimated_time: float | None = None
    images: tuple[GeneratedImage, ...] = ()
    error: str | None = None
    error_code: str | None = None
    request: ImageRequest | None = None

    @property
    def done(self) -> bool:
        """True once it has succeeded or failed."""
        return self.status in ("succeeded", "failed")


class ImageFailure(_Frozen):
    """One image of several that did not arrive: the facts of its error, as data.

    ``error`` is the class name, for example ``"GenerationFailedError"``; the other fields are those of the error.
    """

    index: int
    error: str
    message: str
    billed: Billed
    retryable: bool
    advice: str = ""
    status_code: int | None = None
    code: str | None = None
    request_id: str | None = None
    task: Task | None = None

    @classmethod
    def of(cls, index: int, error: APIMasterError) -> ImageFailure:
        """The facts of ``error``, for the image at ``index``."""
        return cls(
            index=index,
            error=type(error).__name__,
            message=error.message,
            billed=error.billed,
            retryable=error.retryable,
            advice=error.advice,
            status_code=error.status_code,
            code=error.code,
            request_id=error.request_id,
            task=error.task,
        )


class ImageResult(_Frozen):
    """The outcome of ``generate`` or ``wait``.

    Attributes:
        images: the delivered pictures, in order.
        cost: US dollars for the delivered pictures, exact; None where the model's price is not known.
        model: the model id.
        tasks: the tasks behind the pictures, in order; empty after one-shot calls.
        failures: the images that did not arrive, where several were asked for.
        request: what was asked for; None where a task was picked up by its id alone.
    """

    images: tuple[GeneratedImage, ...]
    cost: Decimal | None
    model: str
    tasks: tuple[Task, ...] = ()
    failures: tuple[ImageFailure, ...] = ()
    request: ImageRequest | None = None


class Progress(_Frozen):
    """What ``on_progress`` is called with.

    Attributes:
        stage: what is going on with this image.
        index: which image of the call, from 0.
        total: how many images the call asked for.
        elapsed: seconds since this image was begun.
        percent: 0 to 100, or None where the gateway does not say.
        task: the task, as soon as there is one: keep it, and ``client.wait(task)`` resumes.
        image: the picture, at ``downloading`` and ``done``.
    """

    stage: Stage
    index: int = 0
    total: int = 1
    elapsed: float = 0.0
    percent: float | None = None
    task: Task | None = None
    image: GeneratedImage | None = None


OnProgress: TypeAlias = Callable[[Progress], Awaitable[object] | object]
"""A function that is called with each step of each image. What it raises is logged, and the image goes on."""
