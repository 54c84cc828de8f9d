"""The results of calls: pictures, tasks, failures, progress. Their JSON holds neither picture bytes nor a key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, PrivateAttr, ValidatorFunctionWrapHandler, field_validator

from .errors import BadRequestError, Billed
from .request import ImageRequest, bought_before

if TYPE_CHECKING:
    from .errors import APIMasterError

TaskStatus = Literal["queued", "running", "succeeded", "failed"]
Stage = Literal["submitting", "queued", "running", "downloading", "done", "failed"]


class _Frozen(BaseModel):
    # The validators are built at their first use: to build them here would be a good part of the import time.
    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)


class GeneratedImage(_Frozen):
    """One delivered picture.

    Attributes:
        url: the gateway's URL of it, which expires; None if the picture came inside the reply.
        expires_at: when ``url`` expires, in unix seconds; None if the gateway does not say.
        task_id: the id of the task that made it; None after a one-shot call.
        index: its position among the pictures of the call, from 0.
        output_index: its position among the outputs of its task, from 0.
        path: where the client saved it, a local path or an fsspec URL; None if it did not.
        media_type: ``image/png``, ``image/jpeg`` or ``image/webp``, read from the bytes; None until downloaded.
        width: pixels, read from the bytes; None until downloaded.
        height: pixels, read from the bytes; None until downloaded.
        deviations: differences from the request, one sentence each; empty until downloaded.
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

    # A picture that came as base64 is nowhere else until it is saved; JSON and repr never show it.
    _data: bytes | None = PrivateAttr(default=None)

    @field_validator("path", mode="wrap")
    @classmethod
    def _url_stays_a_text(cls, value: object, handler: ValidatorFunctionWrapHandler) -> object:
        # A path would make one slash of the two in memory://folder/picture.png.
        return value if isinstance(value, str) and "://" in value else handler(value)

    @property
    def has_bytes(self) -> bool:
        """Whether the picture came inside the reply and is still in memory, so that it can be saved without a URL."""
        return self._data is not None

    def as_reference(self) -> Path | str | bytes:
        """What a request sends of it as a reference: its file, else its bytes, else its URL.

        Raises:
            BadRequestError: it has none of them.
        """
        if isinstance(self.path, Path):
            return self.path
        found = self._data or self.url
        if found is None:
            raise BadRequestError(
                f"a picture at {self.path} can't be sent as a reference" if self.path else "an empty GeneratedImage",
                advice="Pass a local file, bytes or a URL.",
            )
        return found


class Task(_Frozen):
    """An image that the gateway is making. Another process can read it from JSON and collect it with ``client.wait``.

    Attributes:
        id: the gateway's id, ``task_…``.
        model: the model id; every poll must name it, or the gateway searches another model's channel for the task.
        status: ``"queued"``, ``"running"``, ``"succeeded"`` or ``"failed"``.
        progress: percent, 0 to 100; None if the gateway does not say.
        estimated_time: seconds that the gateway expects the whole task to take, or None.
        images: the pictures, once it has succeeded.
        error: why it failed, if the gateway gave a reason.
        error_code: the gateway's code for that reason, if it gave one.
        request: the request behind it, if this client knows it.
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

    @field_validator("request", mode="wrap")
    @classmethod
    def _was_accepted(cls, value: object, handler: ValidatorFunctionWrapHandler) -> object:
        with bought_before():
            return handler(value)

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
        cost: US dollars for the delivered pictures, exact; None if the model's price is not known.
        model: the model id that was sent. It may be another spelling of the id that was asked for, if the gateway
            offers only that.
        tasks: the tasks behind the pictures, in order; empty after one-shot calls.
        failures: the images that did not arrive, if the call asked for several.
        request: the request behind it; None if ``wait`` got only the id of a task.
        replayed: True if an idempotency key brought pictures that other calls bought, and this call bought none.
        replayed_cost: the part of ``cost`` that those other calls report: add up ``cost - replayed_cost``.
        price_list: which price list ``cost`` is from, such as ``list price of 2026-09-22``; what the gateway charged
            stands in the account's usage log. None if ``cost`` is what the log says, or is not known.
    """

    images: tuple[GeneratedImage, ...]
    cost: Decimal | None
    model: str
    tasks: tuple[Task, ...] = ()
    failures: tuple[ImageFailure, ...] = ()
    request: ImageRequest | None = None
    replayed: bool = False
    replayed_cost: Decimal = Decimal(0)
    price_list: str | None = None

    @field_validator("request", mode="wrap")
    @classmethod
    def _was_accepted(cls, value: object, handler: ValidatorFunctionWrapHandler) -> object:
        with bought_before():
            return handler(value)

    def as_reference(self) -> Path | str | bytes:
        """What a request sends of its only picture as a reference; see ``GeneratedImage.as_reference``.

        Raises:
            BadRequestError: it has none, or several.
        """
        if len(self.images) != 1:
            raise BadRequestError(
                f"a result with {len(self.images)} pictures is not one reference", advice="Name one: result.images[0]."
            )
        return self.images[0].as_reference()


class Progress(_Frozen):
    """The argument of ``on_progress``.

    Attributes:
        stage: the step that this image has reached.
        index: the image's position in the call, from 0.
        total: how many images the call asked for.
        elapsed: seconds since the call began.
        percent: 0 to 100; None if the gateway does not say.
        task: the task, as soon as there is one; keep it, since ``client.wait(task)`` resumes it.
        image: the picture, at ``downloading`` and ``done``.
        joined: whether another call bought the image, and this one gets it by its idempotency key.
    """

    stage: Stage
    index: int = 0
    total: int = 1
    elapsed: float = 0.0
    percent: float | None = None
    task: Task | None = None
    image: GeneratedImage | None = None
    joined: bool = False


OnProgress: TypeAlias = Callable[[Progress], Awaitable[object] | object]
"""A function that the client calls at each step of each image. If it raises, the client logs that and goes on."""
