"""From the core's result to LiteLLM's answers: pictures, cost, and the names of what failed."""

from __future__ import annotations

import base64
import json
import logging
import time
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from litellm.types.utils import ImageObject

from apimaster import GeneratedImage, ImageResult
from apimaster.adapters import inspect_picture
from apimaster.errors import APIMasterError

from .prices import stamp

_log = logging.getLogger("litellm_apimaster")
_FAILURES: Final = "failures"

Fetched: TypeAlias = bytes | APIMasterError | None
"""A picture's bytes, why they could not be had, or None where nobody asked for them."""


def image_response(answer: Any, result: ImageResult, fetched: Sequence[Fetched]) -> Any:
    """Fill LiteLLM's ``ImageResponse``: one entry per picture, as a URL or as base64.

    Where some of several images failed, the answer has a field ``failures`` that names them, and a header of the
    proxy counts them. A picture whose bytes could not be had is given by its URL, and named there too.

    Raises:
        DownloadError: no picture could be had in the wanted form; all are paid for.
    """
    lost = [each for each in fetched if isinstance(each, APIMasterError)]
    if lost and len(lost) == len(fetched):
        raise lost[0]
    answer.created = int(time.time())
    answer.data = [_object(image, data) for image, data in zip(result.images, fetched, strict=True)]
    failures = [_failure(each) for each in result.failures]
    failures += [
        {"index": image.index, "error": type(data).__name__, "message": data.message, "billed": data.billed}
        for image, data in zip(result.images, fetched, strict=True)
        if isinstance(data, APIMasterError)
    ]
    if failures:
        answer.failures = failures
    close(answer, result, failures)
    return answer


def close(answer: Any, result: ImageResult, failures: Sequence[dict[str, Any]] = ()) -> None:
    """Stamp cost, tasks and failures on any of LiteLLM's answers."""
    headers = {}
    tasks = [task.id for task in result.tasks if task.id]
    if tasks:
        headers["tasks"] = ",".join(tasks)
    if failures:
        headers[_FAILURES] = str(len(failures))
        _log.warning(
            "%d of the images that were asked for failed: %s",
            len(failures),
            "; ".join(f"#{each['index']} {each['error']}: {each['message']}" for each in failures),
        )
    for image in result.images:
        for deviation in image.deviations:
            _log.warning("image %d: %s", image.index, deviation)
    stamp(answer, result.cost, **headers)


def summary(result: ImageResult) -> str:
    """What LiteLLM's logs show as the provider's own reply: no picture in it."""
    return json.dumps(
        {
            "model": result.model,
            "cost": None if result.cost is None else str(result.cost),
            "images": [image.url or "(inside the reply)" for image in result.images],
            "tasks": [task.id for task in result.tasks],
            _FAILURES: [_failure(each) for each in result.failures],
        }
    )


def encoded(data: bytes) -> str:
    """Base64, as text."""
    return base64.b64encode(data).decode("ascii")


def data_uri(data: bytes) -> str:
    """A ``data:`` URI, whose media type comes from the bytes."""
    return f"data:{inspect_picture(data).media_type};base64,{encoded(data)}"


def all_or_none(fetched: Sequence[Fetched]) -> list[bytes]:
    """The bytes of every picture; where one is missing, its error: a conversation has no place for a URL that ends."""
    for each in fetched:
        if isinstance(each, APIMasterError):
            raise each
    return [each for each in fetched if isinstance(each, bytes)]


def _object(image: GeneratedImage, data: Fetched) -> ImageObject:
    if isinstance(data, bytes):
        return ImageObject(b64_json=encoded(data), url=None)
    return ImageObject(url=image.url, b64_json=None)


def _failure(failure: Any) -> dict[str, Any]:
    return dict(failure.model_dump(mode="json", exclude_none=True, exclude={"task": {"request"}}))
