"""An image of a batch, put together from its line in the folder and its purchase in the ledger. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..ledger.purchase import failure_of, images_of, task_of
from ..ledger.rows import Row
from ..request import ImageRequest, read_stored
from ..results import GeneratedImage, Task
from .items import ENDED, IMAGES, SPENT, BatchItem, batch_state
from .lines import Line


def item_from(line: Line, row: Row | None) -> BatchItem:
    """The image of a line with its purchase. The folder wrote the line, so only the request is checked again."""
    request = read_stored(line.request)
    facts: dict[str, Any] = {}
    if row is not None:
        state = batch_state(row.state, row.billed)
        failure = failure_of(row)
        images = images_of(row)
        facts = {
            "state": state,
            "price": row.cost if state in SPENT else row.price,
            "task": _task(row, request, images),
            "error": None if failure is None else failure.message,
            "error_type": None if failure is None else failure.error,
            "billed": failure.billed if state == "unknown" and failure is not None else row.billed,
            "attempts": row.attempts,
            "sunk": row.sunk,
            "submitted_at": row.begun_at,
            "finished_at": row.updated_at if state in ENDED else None,
            **(picture_fields(images) if state == "saved" else {}),
        }
    else:
        facts = {"price": request.cost}
    return BatchItem.model_construct(
        id=line.id, line=line.line, request=request, tags=tuple(json.loads(line.tags)), **facts
    )


def picture_fields(images: Sequence[GeneratedImage]) -> dict[str, Any]:
    """What an image says of its saved pictures. Paths count from the folder: it may have moved since."""
    if not images:
        return {}
    image = images[0]
    more = [f"the task gave another picture: {_relative(each)}" for each in images[1:]]
    return {
        "path": _relative(image),
        "media_type": image.media_type,
        "width": image.width,
        "height": image.height,
        "deviations": (*image.deviations, *more),
    }


def _relative(image: GeneratedImage) -> str:
    return f"{IMAGES}/{Path(image.path or '').name}"


def _task(row: Row, request: ImageRequest, images: tuple[GeneratedImage, ...]) -> Task | None:
    task = task_of(row, request)
    if not images:
        return task
    known = task or Task(id="", model=request.model)
    return known.model_copy(update={"status": "succeeded", "images": images, "request": request})
