"""How references go out: public URLs as they are; local pictures inside the request, or uploaded before it.

=============  ==========================================================================
references_by  local pictures
=============  ==========================================================================
auto           inside the request while it stays below the limit and they are taken there; otherwise uploaded
inline         always inside: a request above the limit is refused here
upload         always uploaded
=============  ==========================================================================

With ``auto``, a request that the gateway refuses goes out once more with uploads: after a 413, which also lowers the
limit for an hour, and after a 400 whose words name the pictures, since some channels take none inside a request; then
they are uploaded at once for some minutes. Other refusals put no picture at a public URL. A 400 for the URL of an
earlier call's upload may mean that the gateway has dropped it: the picture is uploaded anew. None of these was billed,
and no request goes out a third time. Uploads are free.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from .._references.checked import CheckedReference
from .._wire.messages import generation_call
from ..errors import APIMasterError, BadRequestError, ContentPolicyError, NotFoundError, ReferenceImageError
from ..request import ImageRequest, ReferencesBy
from .context import Context
from .image_run import ImageRun
from .operations import Call, Flow, Instant, Now
from .uploads import are_uploaded, fingerprint_references, upload_all

_TOO_LARGE: Final = "Allow uploads with references_by='auto', pass public URLs, or make the pictures smaller."
_NOT_INSIDE: Final = "Allow uploads with references_by='auto', or pass public URLs."

_log = logging.getLogger("apimaster")


@dataclass(slots=True)
class SentReferences:
    """The references of one image as its request holds them.

    Attributes:
        given: as they were checked.
        sent: as they go out.
        remembered: the URLs of those that an earlier call has uploaded.
        repeated: whether they have gone out in a second form.
    """

    given: Sequence[CheckedReference]
    sent: Sequence[CheckedReference]
    remembered: list[str] = field(default_factory=list)
    repeated: bool = False


def prepare_references(
    context: Context, request: ImageRequest, references: Sequence[CheckedReference], by: ReferencesBy, deadline: float
) -> Flow[Sequence[CheckedReference]]:
    """Upload, before the request for any image, what all of them share. They come back ready for that.

    Raises:
        ReferenceImageError: the request is too large, and may not be made smaller by uploads.
        APIMasterError: a picture could not be uploaded. Nothing was charged.
    """
    if not (yield from _to_be_uploaded(context, request, references, by)):
        return references
    ready = yield from fingerprint_references(references)
    yield from upload_all(context, ready, deadline)
    return ready


def choose_form(context: Context, request: ImageRequest, run: ImageRun, *, one_shot: bool) -> Flow[SentReferences]:
    """The references as the request for one image holds them.

    They have been uploaded before, unless another call was to buy the image, or the URLs have become too old.

    Raises:
        ReferenceImageError, APIMasterError: as ``prepare_references``.
        TakenOver: as ``Record.send_again``.
    """
    form = SentReferences(run.references, run.references)
    if not (yield from _to_be_uploaded(context, request, form.given, run.options.references_by)):
        return form
    form.given = yield from fingerprint_references(form.given)
    known = yield from are_uploaded(context, form.given)
    yield from _change_to_uploads(context, form, run)
    if not known:
        yield from run.record.send_again(one_shot=one_shot)
    return form


def change_form(
    context: Context, form: SentReferences, refused: BadRequestError, call: Call, model: str, run: ImageRun
) -> Flow[None]:
    """Change to uploads, or to new ones, after the gateway has refused ``call`` without a charge.

    Raises:
        BadRequestError: ``refused``, if uploads can't help.
        APIMasterError: a picture could not be uploaded. Nothing was charged.
    """
    by = run.options.references_by
    too_large = refused.status_code == 413
    inside = any(each.is_local for each in form.sent)
    now: Instant = yield Now()
    if inside and too_large:
        context.uploads.lower_limit(call.size, now.monotonic)
    elif inside and refused.about_pictures and not isinstance(refused, ContentPolicyError):
        context.uploads.refused_inside(model, now.monotonic)
    by_upload = inside and by == "auto" and (too_large or refused.about_pictures)
    may_help = by_upload or (bool(form.remembered) and not too_large)
    by_form = refused.status_code in (400, 413) and not isinstance(refused, ContentPolicyError)
    if form.repeated or not (may_help and by_form):
        if inside and by == "inline" and by_form and (too_large or refused.about_pictures):
            refused.advice = _TOO_LARGE if too_large else _NOT_INSIDE
        raise refused
    _log.debug("HTTP %d: once more, with its references uploaded", refused.status_code)
    form.repeated = True
    for url in form.remembered:
        context.uploads.forget(url)
    try:
        yield from _change_to_uploads(context, form, run)
    except APIMasterError as error:
        # Of a gateway without uploads, and of a request that is wrong in itself, the first answer says more.
        if isinstance(error, NotFoundError) or not too_large:
            raise refused from error
        raise


def _change_to_uploads(context: Context, form: SentReferences, run: ImageRun) -> Flow[None]:
    form.given = yield from fingerprint_references(form.given)
    uploads = yield from upload_all(context, form.given, run.deadline)
    form.sent = [
        given if upload is None else CheckedReference(given.name, url=upload.url)
        for given, upload in zip(form.given, uploads, strict=True)
    ]
    begun = run.begun.monotonic
    form.remembered = [upload.url for upload in uploads if upload is not None and upload.at < begun]


def _to_be_uploaded(
    context: Context, request: ImageRequest, references: Sequence[CheckedReference], by: ReferencesBy
) -> Flow[bool]:
    """Whether the local references go out as uploads.

    Raises:
        ReferenceImageError: they would have to, and may not.
    """
    local = [each for each in references if each.is_local]
    if not local or by == "upload":
        return bool(local)
    now: Instant = yield Now()
    if by == "auto" and not context.uploads.may_be_inside(request.model, now.monotonic):
        return True
    size, limit = generation_call(request, references, submit=True).size, context.uploads.limit(now.monotonic)
    if by == "inline" and size > limit:
        sizes = ", ".join(_megabytes(each.size) for each in local)
        raise ReferenceImageError(
            f"the request has {_megabytes(size)} with its local references inside it ({sizes} before base64); "
            f"the gateway takes at most {_megabytes(limit)}",
            code="request_too_large",
            advice=_TOO_LARGE,
        )
    return size > limit


def _megabytes(size: int) -> str:
    return f"{size / 1024 / 1024:.1f} MiB" if size >= 100_000 else f"{size} bytes"
