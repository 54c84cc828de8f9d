"""From the core's result to LiteLLM's responses: images, cost, and what failed."""

from __future__ import annotations

import base64
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from litellm.types.utils import ImageObject, ModelResponseStream

from apimaster import GeneratedImage, ImageFailure, ImageResult
from apimaster.adapters import inspect_picture
from apimaster.errors import APIMasterError

from .prices import set_response_cost

if TYPE_CHECKING:
    from .spend_report import SpendReport

_log = logging.getLogger("litellm_apimaster")
_FAILURES: Final = "failures"

ImageContent: TypeAlias = bytes | APIMasterError | None
"""The bytes of an image, the error that kept them away, or None where the caller wants the URL."""


@dataclass(frozen=True, slots=True)
class Bought:
    """What a call has got.

    Attributes:
        result: the core's result.
        contents: what is known of each of its images.
        purchase: the purchase's key in the ledger.
        report: takes on to report what it cost: the last thing that a call does. Who ends before it leaves that to
            another call.
    """

    result: ImageResult
    contents: Sequence[ImageContent]
    purchase: str
    report: SpendReport


def image_response(response: Any, bought: Bought) -> Any:
    """Fill LiteLLM's ``ImageResponse``: one entry per image, as a URL or as base64.

    If some of several images failed, the response has a field ``failures`` that names them, and a header that the
    proxy passes on counts them. An image whose bytes could not be fetched is given by its URL, and named there too.
    """
    result, contents = bought.result, bought.contents
    response.created = int(time.time())
    response.data = [_image_object(image, content) for image, content in zip(result.images, contents, strict=True)]
    failures = [*result.failures, *_fetch_failures(result.images, contents)]
    if failures:
        response.failures = [_failure_as_json(failure) for failure in failures]
    add_metadata(response, bought, failures)
    return response


def report_cost(response: Any, cost: Decimal | None) -> None:
    """Add the cost, in US dollars, to LiteLLM's response."""
    set_response_cost(response, cost)
    if cost is not None and isinstance(response, ModelResponseStream):
        response.usage.cost = float(cost)  # LiteLLM reads the cost of a stream from here


def add_metadata(response: Any, bought: Bought, failures: Sequence[ImageFailure] = ()) -> None:
    """Add purchase, tasks and the number of failures to LiteLLM's response, and log what is not as asked."""
    result = bought.result
    headers = {"purchase": bought.purchase}
    if result.replayed:
        headers["replayed"] = "true"
    tasks = [task.id for task in result.tasks if task.id]
    if tasks:
        headers["tasks"] = ",".join(tasks)
    if failures:
        headers[_FAILURES] = str(len(failures))
        _log.warning(
            "%d of the requested images failed: %s",
            len(failures),
            "; ".join(f"#{failure.index} {failure.error}: {failure.message}" for failure in failures),
        )
    for image in result.images:
        for deviation in image.deviations:
            _log.warning("image %d: %s", image.index, deviation)
    set_response_cost(response, None, **headers)


def log_entry(result: ImageResult) -> str:
    """What LiteLLM's logs show as the provider's own response: everything but the images themselves."""
    return json.dumps(
        {
            "model": result.model,
            "cost": None if result.cost is None else str(result.cost),
            "images": [image.url or "(inside the reply)" for image in result.images],
            "tasks": [task.id for task in result.tasks],
            _FAILURES: [_failure_as_json(failure) for failure in result.failures],
        }
    )


def to_base64(data: bytes) -> str:
    """Base64, as text."""
    return base64.b64encode(data).decode("ascii")


def data_uri(data: bytes) -> str:
    """A ``data:`` URI, whose media type comes from the bytes."""
    return f"data:{inspect_picture(data).media_type};base64,{to_base64(data)}"


def check_contents(contents: Sequence[ImageContent], *, every: bool) -> None:
    """Make sure that a response can be made of them; ``every``: of images by their bytes alone.

    Raises:
        APIMasterError: no image could be fetched, or not every one; all of them are paid for.
    """
    errors = [content for content in contents if isinstance(content, APIMasterError)]
    if errors and (every or len(errors) == len(contents)):
        raise errors[0]


def _image_object(image: GeneratedImage, content: ImageContent) -> ImageObject:
    if isinstance(content, bytes):
        return ImageObject(b64_json=to_base64(content), url=None)
    return ImageObject(url=image.url, b64_json=None)


def _fetch_failures(images: Sequence[GeneratedImage], contents: Sequence[ImageContent]) -> list[ImageFailure]:
    return [
        ImageFailure.of(image.index, content)
        for image, content in zip(images, contents, strict=True)
        if isinstance(content, APIMasterError)
    ]


def _failure_as_json(failure: ImageFailure) -> dict[str, Any]:
    return dict(failure.model_dump(mode="json", exclude_none=True, exclude={"task": {"request"}}))
