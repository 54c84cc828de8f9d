"""Fetching a picture: by its public URL, which ends, or by the durable route, which needs the key."""

from __future__ import annotations

import base64
from typing import Final

from .answers import Answer
from .fault import Fault, Place
from .gallery import Picture
from .gateway import Gateway
from .records import RecordedRequest
from .render import MEDIA_TYPES

_SOME_PAGE: Final = b"<!doctype html><title>Sign in</title><h1>Please sign in to continue</h1>"
_EXPIRED: Final = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>AccessDenied</Code>'
    b"<Message>Request has expired</Message></Error>"
)


async def public_picture(gateway: Gateway, record: RecordedRequest, name: str) -> Answer:
    """Answer ``/imgs/…`` on either origin."""
    picture = gateway.gallery.find(name.rpartition(".")[0] or name)
    if picture is None:
        return gateway.error(record, 404, "file not found", code="not_found")
    record.task_id = picture.job.id
    if gateway.gallery.expired(picture):
        if record.origin == "cdn":
            return Answer(403, _EXPIRED, "application/xml", record=record)
        return gateway.error(record, 404, "file not found or expired", code="not_found")
    return await _deliver(gateway, record, picture, "download")


async def durable_output(gateway: Gateway, record: RecordedRequest, index: int) -> Answer:
    """Answer ``/v1/tasks/{id}/outputs/{index}/content``; ``record`` names the task and the key."""
    job = gateway.jobs.get(record.task_id or "")
    if job is None or job.key != record.key:
        return gateway.error(record, 404, "task not found", code="task_not_exist")
    if not job.end_if_due(gateway.clock.now()) or job.outcome != "succeeded":
        return gateway.error(record, 404, "output not available", code="output_not_found")
    gateway.gallery.issue(job)
    picture = gateway.gallery.find(job.image_tokens[index]) if index < len(job.image_tokens) else None
    if picture is None:
        return gateway.error(record, 404, "output not found", code="output_not_found")
    return await _deliver(gateway, record, picture, "output")


async def encoded_pictures(gateway: Gateway, tokens: list[str]) -> list[str]:
    """Pictures as base64, for a reply that holds them."""
    found = [gateway.gallery.find(token) for token in tokens]
    return [base64.b64encode(await gateway.gallery.read(picture)).decode() for picture in found if picture]


async def _deliver(gateway: Gateway, record: RecordedRequest, picture: Picture, place: Place) -> Answer:
    try:
        fault, _, _ = gateway.marked(record, place)
    except ValueError as error:
        return gateway.error(record, 400, str(error))
    fault = fault or gateway.script.next(place, prompt=picture.job.order.prompt, task=picture.job.id)
    media_type = gateway.gallery.media_type
    if fault is None:
        return Answer(200, await gateway.gallery.read(picture), media_type, _caching(picture), record=record)
    if fault.wire in ("reply", "cut", "hang"):
        return gateway.play(fault, record)
    record.fault = fault.name
    return Answer(
        fault.status,
        await _wrong_bytes(gateway, picture, fault) if fault.picture else await gateway.gallery.read(picture),
        media_type,
        tuple(fault.headers.items()),
        wire="reply" if fault.wire == "picture" else fault.wire,
        seconds=fault.seconds,
        record=record,
    )


async def _wrong_bytes(gateway: Gateway, picture: Picture, fault: Fault) -> bytes:
    if fault.picture == "html":
        return _SOME_PAGE
    if fault.picture == "empty":
        return b""
    if fault.picture == "cut_short":  # a whole reply, but half a picture
        whole = await gateway.gallery.read(picture)
        return whole[: len(whole) // 2]
    width, height = picture.job.order.pixels
    if fault.picture == "wrong_pixels":
        return await gateway.gallery.draw(gateway.gallery.drawing(picture, (max(1, width // 2), max(1, height // 2))))
    other = "jpeg" if gateway.gallery.media_type != MEDIA_TYPES["jpeg"] else "png"
    return await gateway.gallery.draw(gateway.gallery.drawing(picture), other)


def _caching(picture: Picture) -> tuple[tuple[str, str], ...]:
    return (("cache-control", "private, max-age=3600"), ("etag", f'"{picture.token}"'))
