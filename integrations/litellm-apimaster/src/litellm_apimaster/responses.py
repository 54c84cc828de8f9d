"""From the core's result to LiteLLM's responses: images, cost, and what failed."""

from __future__ import annotations

import base64
import json
import logging
import time
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final, TypeAlias

from litellm.types.utils import ImageObject

from apimaster import GeneratedImage, ImageFailure, ImageResult
from apimaster.adapters import inspect_picture
from apimaster.errors import APIMasterError

from .prices import set_response_cost

_log = logging.getLogger("litellm_apimaster")
_FAILURES: Final = "failures"

ImageContent: TypeAlias = bytes | APIMasterError | None
"""The bytes of an image, the error that kept them away, or None where the caller wants the URL."""


def image_response(response: Any, result: ImageResult, contents: Sequence[ImageContent], purchase: str) -> Any:
    """Fill LiteLLM's ``ImageResponse``: one entry per image, as a URL or as base64.

    If some of several images failed, the response has a field ``failures`` that names them, and a header that the
    proxy passes on counts them. An image whose bytes could not be fetched is given by its URL, and named there too.

    Raises:
        DownloadError: no image could be fetched; all of them are paid for.
    """
    errors = [content for content in contents if isinstance(content, APIMasterError)]
    if errors and len(errors) == len(contents):
        raise errors[0]
    response.created = int(time.time())
    response.data = [_image_object(image, content) for image, content in zip(result.images, contents, strict=True)]
    failures = [*result.failures, *_fetch_failures(result.images, contents)]
    if failures:
        response.failures = [_failure_as_json(failure) for failure in failures]
    add_metadata(response, result, purchase, failures)
    return response


def add_metadata(response: Any, result: ImageResult, purchase: str, failures: Sequence[ImageFailure] = ()) -> None:
    """Add cost, purchase, tasks and the number of failures to LiteLLM's response, and log what is not as asked.

    The cost is what this call is to report: an image that another call reports adds nothing to it.
    """
    headers = {"purchase": purchase}
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
    set_response_cost(response, cost_to_report(result), **headers)


def cost_to_report(result: ImageResult) -> Decimal | None:
    """US dollars that this call reports: what another call bought costs nothing here, whatever it cost there."""
    if result.cost is None:
        return Decimal(0) if result.replayed else None  # without a figure, LiteLLM would take the list price
    return result.cost - result.replayed_cost


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


def require_bytes(contents: Sequence[ImageContent]) -> list[bytes]:
    """The bytes of every image. A conversation can't hold a URL that expires, so one error fails the whole call."""
    for content in contents:
        if isinstance(content, APIMasterError):
            raise content
    return [content for content in contents if isinstance(content, bytes)]


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
