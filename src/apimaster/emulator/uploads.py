"""The route that takes uploads of reference images, which are free, and the public one that shows them.

A picture goes to a temporary file while it comes in, so that many large ones at once fit.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator

import python_multipart  # noqa: F401  # Starlette needs it, and says so only when a form comes in
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from ..catalog import MEBIBYTE
from .gateway import Gateway
from .records import ReceivedReference, RecordedRequest
from .response_bodies import dump
from .responses import Response
from .uploaded_images import UPLOAD_PATH, described
from .validation import Refusal


async def take_upload(gateway: Gateway, request: Request, record: RecordedRequest) -> Response:
    """Answer ``POST /v1/uploads/images``; ``record`` names the key."""
    try:
        fault = gateway.settings_for(record, "upload").fault
    except ValueError as error:
        return gateway.error(record, 400, str(error))
    try:
        file = await _file_in(gateway, request, record)
    except Refusal as refusal:
        return _refused(record, refusal)
    except ClientDisconnect:
        return Response(400, wire="hang")
    try:
        fault = fault or gateway.script.next_fault("upload")
        if fault is not None and fault.wire not in ("slow", "truncate"):
            return gateway.fault_response(fault, record)
        image = await gateway.threads.run(gateway.uploads.add, file.file)
    except Refusal as refusal:
        return _refused(record, refusal)
    finally:
        await file.close()
    url = f"{gateway.origin_for(record.raw_headers)}{UPLOAD_PATH}{image.token}.{image.ending}"
    record.references = (described(ReceivedReference("upload", url=url), image),)
    document = {
        "url": url,
        "filename": file.filename or "",
        "content_type": image.media_type,
        "bytes": image.size,
        "created_at": int(gateway.clock.unix_time()),
    }
    if fault is not None:
        return gateway.fault_response(fault, record, dump(document))
    return Response(200, dump(document), record=record)


def uploaded_picture(gateway: Gateway, record: RecordedRequest, name: str) -> Response:
    """Answer ``/uploads/…``, which is public."""
    found = gateway.uploads.find(name)
    if found is None:
        return gateway.error(record, 404, "file not found", code="not_found")
    data, media_type = gateway.uploads.content(found)
    return Response(200, data, media_type, record=record)


async def _file_in(gateway: Gateway, request: Request, record: RecordedRequest) -> UploadFile:
    """The field ``file`` of the body, on the disk if it is large."""
    if "multipart/form-data" not in request.headers.get("content-type", ""):
        raise Refusal(400, "request Content-Type isn't multipart/form-data")
    limit = gateway.options.request_limit
    claimed = request.headers.get("content-length", "")
    if claimed.isdecimal() and int(claimed) > limit:
        raise Refusal(413, "request body too large")

    async def pieces() -> AsyncGenerator[bytes, None]:
        async for piece in request.stream():
            record.body_size += len(piece)
            if record.body_size > limit:
                raise Refusal(413, "request body too large")
            yield piece

    try:
        form = await MultiPartParser(request.headers, pieces(), max_files=1, max_fields=16).parse()
    except MultiPartException as error:
        raise Refusal(400, f"the form can't be read: {error.message}") from None
    file = form.get("file")
    if not isinstance(file, UploadFile):
        await form.close()
        raise Refusal(400, "no file was uploaded: the field file is required")
    if (file.size or 0) > gateway.options.upload_limit:
        await form.close()
        raise Refusal(413, f"the file is too large: at most {gateway.options.upload_limit // MEBIBYTE} MB")
    return file


def _refused(record: RecordedRequest, refusal: Refusal) -> Response:
    # In this envelope a 413 has neither type nor code, as some replies of this route.
    error: dict[str, object] = {"message": f"{refusal.message} (request id: {record.id})"}
    if refusal.status != 413:
        error.update(type=refusal.kind, param="", code=refusal.code)
    return Response(refusal.status, dump({"error": error}), record=record)
