"""Requests and replies in the endpoint's own field names: request → call, reply → task, pictures, model ids.

One set of rules reads both dialects of polls, for every channel that the gateway may choose:

===========================  =================================================================
part of a reply              where it may be
===========================  =================================================================
the object itself            under ``data``; the only item of a list there; or at the top
a task's id                  ``task_id``, ``batch_id`` or ``id``
the state                    ``status``: see the word lists below; any other word: keep waiting
pictures                     ``result.images`` or ``result.outputs`` (a task) or ``data`` (one shot
                             and submit); of a task also ``images``, ``image_urls``, ``data`` or
                             ``url`` beside its status
a picture's URL              ``url``: a string, or a list of strings; or ``b64_json`` instead
the reason of a failure      ``error``: text, or an object with ``message``; often nothing at all
===========================  =================================================================

Midjourney answers with a batch: one task, whose fields are at the top, and whose ``data`` may list the single pictures,
each with an id and a status of its own. The batch is what was bought, so the task at the top goes before them.

``errors.py``, beside this module, reads error replies, and ``account.py`` the account's own books.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast
from urllib.parse import quote

from .._flows.operations import Call, Reply
from .._references.checked import CheckedReference
from ..request import ImageRequest
from ..results import GeneratedImage, Task, TaskStatus
from .json_body import json_body
from .json_reply import parsed

_GENERATIONS: Final = "generations"

_FINISHED: Final = frozenset({"completed", "succeeded", "success"})
_FAILED: Final = frozenset({"failed", "error", "cancelled", "canceled"})
_QUEUED: Final = frozenset({"submitted", "queued", "pending", "not_start", "created"})
_IDS: Final = ("task_id", "batch_id", "id")
_BATCH: Final = "imagine_batch_"  # how the id of a batch begins
_PICTURES: Final = ("images", "image_urls", "data")  # of a task, if ``result`` holds none


class Unreadable(ValueError):
    """A success reply that this client can't read; the message says what it holds instead."""


class BrokenPicture(Unreadable):
    """A well-formed success reply with a picture inside it that can't be decoded."""


class Empty(Unreadable):
    """A well-formed success reply with neither a task nor a picture in it."""


# --- requests ---------------------------------------------------------------------------------------------


def generation_call(request: ImageRequest, references: Sequence[CheckedReference], *, submit: bool) -> Call:
    """The call that buys one image. ``n`` is never sent, since the gateway does not keep to it.

    Args:
        request: what to ask for.
        references: its ``pictures``, checked: the references, and the mask, if it has one, last.
        submit: whether to ask for a task.
    """
    resolution: str | None = request.resolution
    if resolution is not None and request.spec.lower_case_resolution:
        resolution = resolution.lower()
    fields: dict[str, object] = {"model": request.model, "prompt": request.prompt}
    optional: dict[str, object] = {
        "size": request.aspect_ratio,
        "resolution": resolution,
        "google_search": _flag(request, request.google_search),
        "google_image_search": _flag(request, request.google_image_search),
        "client_reference_id": request.client_reference_id,
    }
    fields.update({name: value for name, value in optional.items() if value is not None})
    if request.webhook is not None:
        fields["notifications"] = {
            "webhook": {"endpoint_id": request.webhook.endpoint_id, "events": list(request.webhook.events)}
        }
    fields.update(request.extra_body)
    masks = {}
    if request.mask is not None:
        *references, mask = references
        masks = {"mask_url": mask}
    body = json_body(fields, {"image_urls": references}, masks)
    route = request.spec.edit_route if request.references else _GENERATIONS
    return Call("POST", f"/images/{route}{'/async' if submit else ''}", body=body)


def _flag(request: ImageRequest, value: bool | None) -> bool | None:
    """What is sent of a switch for a search: no False to a model without one that refuses what it does not know."""
    spec = request.spec
    return None if value is False and spec.strict_fields and not spec.google_search else value


def task_call(task_id: str, model: str) -> Call:
    """A poll. Without ``model`` the gateway assumes another one, and may not find the task."""
    return Call("GET", f"/tasks/{quote(task_id, safe='')}", query={"model": model})


def output_path(task_id: str, index: int) -> str:
    """The path of a task's durable output, below the base URL; it needs the key."""
    return f"/tasks/{quote(task_id, safe='')}/outputs/{index}/content"


def models_call() -> Call:
    """The call for the list of model ids."""
    return Call("GET", "/models")


# --- replies ----------------------------------------------------------------------------------------------


def read_accepted(reply: Reply, request: ImageRequest) -> Task | tuple[GeneratedImage, ...]:
    """The task or the pictures in the reply to a one-shot call or a submit; both may bring either.

    Raises:
        Empty: the reply is well formed and holds neither a task nor a picture.
        Unreadable: the reply is not a JSON object, or it is an error with a success status.
    """
    document = object_in(reply)
    items = _items(document.get("data", document))
    tasks = items
    if _has_status(document) and _id_of(document) and (_is_batch(document) or not _names_one_task(items)):
        tasks = [document]
    images = tuple(_images(items, task_id=None))
    if images and tasks is items:
        return images
    for item in tasks:
        # The gateway may answer a one-shot call with a task, running or finished.
        task_id = _id_of(item)
        if task_id:
            task = _task(item, Task(id=task_id, model=request.model, request=request))
            # Pictures in hand are not given up for a word that this client does not know.
            return images if images and not task.images and len(images) >= len(items) else task
    kind = Unreadable if document.get("error") else Empty
    raise kind(f"neither a task nor a picture in {excerpt(reply)}")


def read_task(reply: Reply, known: Task) -> Task:
    """The new state of ``known`` after a poll.

    Raises:
        BrokenPicture: it has succeeded, and its picture can't be decoded: the next poll brings the same.
        Unreadable: the reply is not a JSON object with a status. This is a passing fault: poll again.
    """
    document = object_in(reply)
    items = _items(document.get("data", document))
    inside = [item for item in items if _has_status(item)]
    at_the_top = _id_of(document) == known.id or len(inside) > 1
    # A status without the task's id may be that of the envelope, unless the pictures are there.
    if _has_status(document) and (at_the_top or (not inside and _images_of(document, known.id))):
        items = [document]
    if not items or not _has_status(items[0]):
        raise Unreadable(f"no task status in {excerpt(reply)}")
    return _task(items[0], known)


def read_models(reply: Reply) -> list[str]:
    """The ids of the gateway's models, in its order.

    Raises:
        Unreadable: the reply is not a list of models.
    """
    listed = object_in(reply).get("data")
    if not isinstance(listed, list):
        raise Unreadable(f"no list of models in {excerpt(reply)}")
    return [item["id"] for item in listed if isinstance(item, dict) and isinstance(item.get("id"), str)]


def excerpt(reply: Reply, limit: int = 160) -> str:
    """The beginning of a body, for an error message; too short for a picture in base64."""
    text = " ".join(reply.body[: limit * 4].decode("utf-8", "replace").split())
    if not text:
        return f"an empty body (HTTP {reply.status})"
    return f"{text[:limit]!r}{'…' if len(text) > limit else ''} (HTTP {reply.status})"


def text_of(value: object) -> str | None:
    """A value that should be a text, stripped; None if there is none, or if it is empty."""
    return str(value).strip() or None if value is not None else None


def number_of(value: object) -> float | None:
    """A finite number, or None. The gateway writes some as text, with or without a percent sign."""
    if isinstance(value, str):
        try:
            value = float(value.strip().rstrip("%"))
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if abs(value) < 1e15 else None  # also false for NaN


def object_in(reply: Reply) -> dict[str, Any]:
    """The JSON object that is the body.

    Raises:
        Unreadable: there is none.
    """
    try:
        document = parsed(reply.body)
    except ValueError:
        raise Unreadable(f"no JSON in {excerpt(reply)}") from None
    if not isinstance(document, dict):
        raise Unreadable(f"no JSON object in {excerpt(reply)}")
    return cast("dict[str, Any]", document)


# --- parts ------------------------------------------------------------------------------------------------


def _names_one_task(items: Sequence[Mapping[str, Any]]) -> bool:
    """Whether ``data`` names the task, so that the fields around it say something else."""
    return len(items) == 1 and isinstance(items[0].get("task_id"), str)


def _is_batch(document: Mapping[str, Any]) -> bool:
    """Whether the object at the top is what was bought, however many pictures it lists."""
    own = _id_of(document) or ""
    return (isinstance(document.get("batch_id"), str) and bool(document["batch_id"])) or own.startswith(_BATCH)


def _has_status(item: Mapping[str, Any]) -> bool:
    return isinstance(item.get("status"), str)


def _id_of(item: Mapping[str, Any]) -> str | None:
    return next((found for name in _IDS if isinstance(found := item.get(name), str) and found), None)


def _items(data: object) -> list[dict[str, Any]]:
    found = data if isinstance(data, list) else [data]
    return [item for item in found if isinstance(item, dict)]


def _task(item: Mapping[str, Any], known: Task) -> Task:
    status = _status(item.get("status"))
    changes: dict[str, object] = {"status": status}
    percent = number_of(item.get("progress"))
    if percent is not None and 0 <= percent <= 100:
        changes["progress"] = percent
    estimate = number_of(item.get("estimated_time"))
    if estimate is not None and estimate > 0:
        changes["estimated_time"] = estimate
    if status == "succeeded":
        changes["images"] = _images_of(item, known.id)
    if status == "failed":
        error = item.get("error")
        changes["error"] = text_of(error.get("message") if isinstance(error, dict) else error)
        changes["error_code"] = text_of(error.get("code")) if isinstance(error, dict) else None
    return known.model_copy(update=changes)


def _images_of(item: Mapping[str, Any], task_id: str) -> tuple[GeneratedImage, ...]:
    """The pictures of a task that has succeeded: from the first member that holds any."""
    result = item.get("result")
    inner = [result.get(name) for name in ("images", "outputs")] if isinstance(result, dict) else [result]
    for pictures in (*inner, *(item.get(name) for name in _PICTURES), item.get("url")):
        if images := tuple(_images(_with_urls(pictures), task_id=task_id)):
            return images
    return ()


def _status(word: object) -> TaskStatus:
    text = word.strip().lower() if isinstance(word, str) else ""
    if text in _FINISHED:
        return "succeeded"
    if text in _FAILED:
        return "failed"
    return "queued" if text in _QUEUED else "running"


def _with_urls(pictures: object) -> list[dict[str, Any]]:
    listed = pictures if isinstance(pictures, list) else [pictures]
    return [{"url": item} if isinstance(item, str) else item for item in listed if isinstance(item, (str, dict))]


def _images(items: Sequence[Mapping[str, Any]], task_id: str | None) -> Iterator[GeneratedImage]:
    position = 0
    for item in items:
        urls = item.get("url")
        expires = number_of(item.get("expires_at"))
        for url in urls if isinstance(urls, list) else [urls]:
            if isinstance(url, str) and url:
                yield GeneratedImage(
                    url=url,
                    expires_at=None if expires is None else int(expires),
                    task_id=task_id,
                    output_index=position,
                )
                position += 1
        encoded = item.get("b64_json")
        if not urls and isinstance(encoded, str) and encoded:
            yield _inline_image(encoded, task_id, position)
            position += 1


def _inline_image(encoded: str, task_id: str | None, position: int) -> GeneratedImage:
    try:
        data = base64.b64decode(encoded.rpartition(",")[2])
    except (binascii.Error, ValueError):
        raise BrokenPicture("a picture whose base64 is broken") from None
    if not data:
        raise BrokenPicture("a picture without bytes")
    image = GeneratedImage(task_id=task_id, output_index=position)
    image._data = data
    return image
