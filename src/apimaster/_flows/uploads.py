"""Uploads of reference images, before the request that names them.

They are free, so each is retried after any passing fault. Several run at once. A picture that this client has uploaded
within the hour is not uploaded again, and one that another call is uploading is waited for.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Final

from .._references.checked import CheckedReference, check_reference
from .._references.reference import Reference
from .._references.uploaded import OwnUploads, Upload
from .._wire.messages import Unreadable
from .._wire.uploads import read_upload, upload_call
from ..errors import (
    APIConnectionError,
    APIMasterError,
    BadRequestError,
    InternalServerError,
    NotFoundError,
    ReferenceImageError,
)
from ..settings import hint_for_404
from .context import Context
from .operations import Flow, Gather, Instant, Now, RunBlocking, Sleep
from .send import ask

UPLOADS_AT_ONCE: Final = 4
_KINDS: Final = {"image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WebP"}
UPLOAD_TIMEOUT: Final = 300.0
"""Seconds for one upload: 10 MB take 80 s at 1 Mbit/s, and others run beside it."""

_NO_UPLOADS: Final = (
    "The gateway may have no uploads: put pictures inside the request with references_by='inline', or pass public URLs."
)
_PAUSES: Final = (0.02, 0.2)  # seconds between two looks at an upload of another call


def upload(context: Context, reference: Reference, max_bytes: int, timeout: float | None) -> Flow[str]:
    """Upload one picture and return its public URL; a URL is returned as it is.

    Raises:
        ReferenceImageError: it is not accepted, here or by the gateway.
        APIMasterError: it could not be uploaded. Nothing was charged.
    """
    now: Instant = yield Now()
    checked: CheckedReference = yield RunBlocking(lambda: check_reference(reference, 1, max_bytes).fingerprinted())
    if checked.url is not None:
        return checked.url
    deadline = now.monotonic + (UPLOAD_TIMEOUT if timeout is None else timeout)
    return (yield from _upload_once(context, checked, 1, deadline, OwnUploads(context.uploads))).url


def hash_references(references: Sequence[CheckedReference]) -> Flow[Sequence[CheckedReference]]:
    """The same, with the digests of their bytes."""
    if not any(each.is_local for each in references):
        return references
    hashed: Sequence[CheckedReference] = yield RunBlocking(lambda: [each.hashed() for each in references])
    return hashed


def fingerprint_references(references: Sequence[CheckedReference]) -> Flow[Sequence[CheckedReference]]:
    """The same, ready to be uploaded."""
    if all(each.fingerprint or not each.is_local for each in references):
        return references
    found: Sequence[CheckedReference] = yield RunBlocking(lambda: [each.fingerprinted() for each in references])
    return found


def are_uploaded(context: Context, references: Sequence[CheckedReference]) -> Flow[bool]:
    """Whether all local ones have URLs that can be used."""
    now: Instant = yield Now()
    local = [each for each in references if each.is_local]
    known: bool = yield RunBlocking(lambda: all(context.uploads.has(each, now.monotonic) for each in local))
    return known


def upload_all(context: Context, references: Sequence[CheckedReference], deadline: float) -> Flow[list[Upload | None]]:
    """The upload of each reference, in order; None for a URL.

    Raises:
        APIMasterError: the first of them that failed; no further one is begun then.
    """
    failed: list[APIMasterError] = []
    local = [(each, number) for number, each in enumerate(references, start=1) if each.is_local]
    own = OwnUploads(context.uploads)
    flows = [_unless_one_failed(context, each, number, deadline, own, failed) for each, number in local]
    try:
        outcomes: list[Upload | APIMasterError] = yield Gather(flows, limit=UPLOADS_AT_ONCE)
    except BaseException:
        own.stop()
        raise
    if failed:
        raise failed[0]
    ended = iter(outcomes)
    found: list[Upload | None] = []
    for each in references:
        outcome = next(ended) if each.is_local else None
        if isinstance(outcome, APIMasterError):
            raise outcome
        found.append(outcome)
    return found


def _unless_one_failed(
    context: Context,
    picture: CheckedReference,
    number: int,
    deadline: float,
    own: OwnUploads,
    failed: list[APIMasterError],
) -> Flow[Upload]:
    """Upload a picture, unless another one of the same request can't be uploaded: then none of them is of use."""
    if failed:
        raise failed[0]
    try:
        return (yield from _upload_once(context, picture, number, deadline, own))
    except APIMasterError as error:
        failed.append(error)
        raise


def _upload_once(
    context: Context, picture: CheckedReference, number: int, deadline: float, uploads: OwnUploads
) -> Flow[Upload]:
    """The upload of a picture: of an earlier call, of another call that is under way, or its own.

    ``number`` is its place among the references of this call, from 1.
    """
    place = f"reference {number} ({picture.name}, {_KINDS.get(picture.media_type, 'picture')})"
    pause, longest = _PAUSES
    while True:
        now: Instant = yield Now()
        found, own = yield from _begin(uploads, picture, now.monotonic)
        if own:
            break
        while not found.ended and found.is_of_use(now.monotonic):
            if now.monotonic + pause >= deadline:
                raise APIConnectionError(
                    f"The time ran out while another call was uploading {place}.",
                    advice="Try again with a longer timeout.",
                )
            yield Sleep(pause)
            pause = min(longest, pause * 1.5)
            now = yield Now()
        if found.error is not None:
            raise _about(context, place, found.error)
        if found.url:
            return found
    outcome: str | APIMasterError | None = None
    try:
        outcome = yield from _upload(context, picture, deadline)
    except APIMasterError as error:
        outcome = error
        raise _about(context, place, error) from error
    finally:
        context.uploads.end(found, outcome)
    return found


def _begin(uploads: OwnUploads, picture: CheckedReference, now: float) -> Flow[tuple[Upload, bool]]:
    try:
        begun: tuple[Upload, bool] = yield RunBlocking(lambda: uploads.begin(picture, now))
    except BaseException:
        uploads.stop()  # the thread may be at it still
        raise
    return begun


def _upload(context: Context, picture: CheckedReference, deadline: float) -> Flow[str]:
    attempt = 0
    while True:
        attempt += 1
        reply = yield from ask(context, upload_call(picture), deadline=deadline, timeout=UPLOAD_TIMEOUT, long=True)
        try:
            return read_upload(reply)
        except Unreadable as cause:
            unread = InternalServerError(f"the reply can't be read: {cause}", status_code=reply.status)
        pause = context.policy.pause(attempt, unread)
        now: Instant = yield Now()
        if pause is None or now.monotonic + pause >= deadline:
            raise unread
        yield Sleep(pause)


def _about(context: Context, place: str, error: APIMasterError) -> APIMasterError:
    """The same error, which says that it is about an upload."""
    message = f"{place} could not be uploaded: {error.message}"
    if type(error) is BadRequestError:
        return ReferenceImageError(message, status_code=error.status_code, code=error.code, request_id=error.request_id)
    made = copy.copy(error)
    made.message, made.args = message, (message,)
    if isinstance(made, NotFoundError):
        made.advice = hint_for_404(context.base_url) or _NO_UPLOADS
    return made
