"""Downloads of pictures: by public URL, which expires, or by the durable route, which needs the key."""

from __future__ import annotations

import base64
from typing import Final

from .faults import Fault, Place
from .gateway import Gateway
from .picture import MEDIA_TYPES
from .picture_store import StoredPicture
from .records import RecordedRequest
from .responses import Response

_SIGN_IN_PAGE: Final = b"<!doctype html><title>Sign in</title><h1>Please sign in to continue</h1>"
_EXPIRED: Final = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>AccessDenied</Code>'
    b"<Message>Request has expired</Message></Error>"
)


async def public_picture(gateway: Gateway, record: RecordedRequest, name: str) -> Response:
    """Answer ``/imgs/…`` on either origin."""
    picture = gateway.pictures.find(name.rpartition(".")[0] or name)
    if picture is None:
        return gateway.error(record, 404, "file not found", code="not_found")
    record.task_id = picture.job.id
    if gateway.pictures.expired(picture):
        if record.origin == "cdn":
            return Response(403, _EXPIRED, "application/xml", record=record)
        return gateway.error(record, 404, "file not found or expired", code="not_found")
    return await _deliver(gateway, record, picture, "download")


async def durable_output(gateway: Gateway, record: RecordedRequest, index: int) -> Response:
    """Answer ``/v1/tasks/{id}/outputs/{index}/content``; ``record`` names the task and the key."""
    job = gateway.jobs.get(record.task_id or "")
    if job is None or job.key != record.key:
        return gateway.error(record, 404, "task not found", code="task_not_exist")
    if not job.end_if_due(gateway.clock.now()) or job.outcome != "succeeded":
        return gateway.error(record, 404, "output not available", code="output_not_found")
    gateway.pictures.publish(job)
    picture = gateway.pictures.find(job.image_tokens[index]) if index < len(job.image_tokens) else None
    if picture is None:
        return gateway.error(record, 404, "output not found", code="output_not_found")
    return await _deliver(gateway, record, picture, "output")


async def encoded_pictures(gateway: Gateway, tokens: list[str]) -> list[str]:
    """Pictures as base64, for a response that holds them."""
    found = [gateway.pictures.find(token) for token in tokens]
    return [base64.b64encode(await gateway.pictures.read(picture)).decode() for picture in found if picture]


async def _deliver(gateway: Gateway, record: RecordedRequest, picture: StoredPicture, place: Place) -> Response:
    try:
        fault = gateway.settings_for(record, place).fault
    except ValueError as error:
        return gateway.error(record, 400, str(error))
    fault = fault or gateway.script.next_fault(place, prompt=picture.job.request.prompt, task=picture.job.id)
    media_type = gateway.pictures.media_type
    if fault is None:
        return Response(200, await gateway.pictures.read(picture), media_type, _caching(picture), record=record)
    if fault.wire in ("reply", "cut", "hang"):
        return gateway.fault_response(fault, record)
    record.fault = fault.name
    return Response(
        fault.status,
        await _wrong_bytes(gateway, picture, fault) if fault.picture else await gateway.pictures.read(picture),
        media_type,
        tuple(fault.headers.items()),
        wire="reply" if fault.wire == "picture" else fault.wire,
        seconds=fault.seconds,
        record=record,
    )


async def _wrong_bytes(gateway: Gateway, picture: StoredPicture, fault: Fault) -> bytes:
    if fault.picture == "html":
        return _SIGN_IN_PAGE
    if fault.picture == "empty":
        return b""
    if fault.picture == "cut_short":  # a whole response with half a picture
        whole = await gateway.pictures.read(picture)
        return whole[: len(whole) // 2]
    width, height = picture.job.request.pixels
    if fault.picture == "wrong_pixels":
        return await gateway.pictures.draw(
            gateway.pictures.drawing_of(picture, (max(1, width // 2), max(1, height // 2)))
        )
    other = "jpeg" if gateway.pictures.media_type != MEDIA_TYPES["jpeg"] else "png"
    return await gateway.pictures.draw(gateway.pictures.drawing_of(picture), other)


def _caching(picture: StoredPicture) -> tuple[tuple[str, str], ...]:
    return (("cache-control", "private, max-age=3600"), ("etag", f'"{picture.token}"'))
