"""What a tool returns, and the step before: pictures get their ids and their records in the store."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from apimaster import DownloadError, GeneratedImage, ImageFailure, ImageRequest, ImageResult, LedgerError, Task
from apimaster.ledger.schema import Where
from apimaster.ledger.spend import cost_to_report

from .records import StoredImage, image_id, image_id_without_task

if TYPE_CHECKING:
    from .context import ToolContext

_log = logging.getLogger("langchain_apimaster")


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool returns: pictures, or a task that is not finished.

    Attributes:
        images: the pictures.
        model: the model id.
        tasks: the ids of the tasks behind them.
        cost: US dollars that this call reports: what the pictures cost, less what another call has reported; None if
            the price is unknown.
        failures: the images that did not arrive.
        unfinished: the task, if it is not finished.
        replayed: whether an earlier call has bought it all.
        attachments: the attachments that the pictures are made from, by their numbers.
    """

    images: tuple[StoredImage, ...] = ()
    model: str = ""
    tasks: tuple[str, ...] = ()
    cost: Decimal | None = None
    failures: tuple[ImageFailure, ...] = ()
    unfinished: Task | None = None
    replayed: bool = False
    attachments: tuple[str, ...] = ()


def stored_result(context: ToolContext, result: ImageResult, request: ImageRequest, key: str) -> ToolResult:
    """The result of a purchase: its pictures are in the store. Blocks.

    Raises:
        DownloadError: the pictures were made, and none of them could be saved.
    """
    price = request.spec.price(request.resolution)
    known = None if result.cost is None else result.cost - result.replayed_cost or Decimal(0)  # not 0.0000
    stored = store_images(context, result.images, request, result.model, price, key)
    if not stored:
        raise DownloadError("The picture was made and could not be saved.", images=result.images)
    return ToolResult(
        stored,
        model=result.model,
        tasks=tuple(task.id for task in result.tasks if task.id),
        cost=cost_to_report(context.ledger.get(), Where(key=key), known, images=request.n),
        failures=result.failures,
        replayed=result.replayed,
    )


def store_images(
    context: ToolContext,
    images: Sequence[GeneratedImage],
    request: ImageRequest | None,
    model: str,
    price: Decimal | None,
    key: str | None = None,
) -> tuple[StoredImage, ...]:
    """Register saved pictures in the store. A task is one charge, however many pictures it brings. Blocks.

    ``key`` is that of their purchase: a picture without a task is known by it.
    """
    stored: list[StoredImage] = []
    charged: set[str] = set()
    saved = [image for image in images if image.path is not None]
    for image, id_ in zip(saved, _ids(context, saved, key), strict=True):
        cost = Decimal(0) if price is not None and image.task_id in charged else price
        stored.append(context.store.keep_image(image, id_, request=request, model=model, cost=cost))
        if image.task_id and image.task_id not in charged:
            context.store.own_task(image.task_id)
            charged.add(image.task_id)
    return tuple(stored)


def _ids(context: ToolContext, images: Sequence[GeneratedImage], key: str | None) -> list[str]:
    """The id of each picture: the same whenever the same purchase brings it."""
    places: dict[str, tuple[int, int]] = {}
    if key is not None and not all(image.task_id for image in images):
        try:
            for purchase in context.ledger.get().purchases(key=key):
                for position, image in enumerate(purchase.images):
                    places[os.path.abspath(image.path or "")] = (purchase.index, position)
        except LedgerError as error:  # the pictures are paid for: they need some id
            _log.warning("%s", error.message)

    def id_of(image: GeneratedImage) -> str:
        place = places.get(os.path.abspath(image.path or ""))
        if image.task_id or key is None or place is None:
            return image_id(image.task_id, image.output_index)
        return image_id_without_task(key, *place)

    return [id_of(image) for image in images]
