"""The routes that cost money: the one-shot call and the submit, each also as an edit.

The gateway goes through them in this order: key, body, checks, fault, balance, charge, response. A fault comes after
the checks, so that a client's mistake shows and uses up no scripted fault. Whatever the response says, the bill holds
what was charged.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request

from .dialects import Dialect
from .downloads import encoded_pictures
from .edit_forms import is_form, read_form
from .faults import FAULTS, Fault
from .gateway import Gateway
from .image_jobs import ImageJob
from .records import RecordedRequest
from .response_bodies import one_shot_body, submit_body
from .responses import Response
from .validation import GenerationRequest, Refusal, abbreviated, check_request, parse_body

_LARGE_BODY: Final = 256 * 1024  # bytes; reading a larger body on the event loop would block other requests
_TOO_LARGE: Final = ("request body too large", "new_api_error", "request_too_large")


async def generate(gateway: Gateway, http_request: Request, *, submit: bool, edit: bool = False) -> Response:
    """Answer ``POST /v1/images/generations`` or, with ``submit``, ``…/async``; with ``edit``, ``/v1/images/edits``."""
    record = gateway.request_log.add(http_request.scope, "submit" if submit else "sync")
    if gateway.identify(record) is None:
        code = "invalid_token" if record.had_authorization else "missing_token"
        return gateway.error(record, 401, "Invalid token", "new_api_error", code)
    try:
        fault, dialect, latency, channel = gateway.settings_for(record, "generate")
        task_fault = gateway.settings_for(record, "task").fault
        delivery_fault = gateway.settings_for(record, "delivery").fault
    except ValueError as error:
        return gateway.error(record, 400, str(error))
    if submit and not dialect.async_route:
        return gateway.error(record, 404, f"Invalid URL (POST {record.path})")
    try:
        raw = await _read_body(http_request, gateway.options.request_limit)
        record.body_size = len(raw)
        request = await _read_request(gateway, record, raw, http_request.headers, edit=edit)
        channel.take(request)
        gateway.webhooks.check(request, record.key or 0)
    except Refusal as refusal:
        return gateway.error(record, refusal.status, refusal.message, refusal.kind, refusal.code)
    except ClientDisconnect:
        return Response(400, wire="hang")
    like = gateway.options.like
    recorded = like.purchase_refused(request, submit=submit)
    if recorded is not None:
        return gateway.recorded_response(recorded, record)
    like.apply(request)
    fault = fault or gateway.script.next_fault("generate", prompt=request.prompt)
    if fault is not None and not (fault.accepted or fault.refunded):
        return gateway.fault_response(fault, record)
    if not _balance_covers(gateway, request, dialect, submit=submit):
        return gateway.fault_response(FAULTS["no_balance_403"], record)
    job = gateway.start_job(request, record, dialect, latency, channel, submit=submit)
    task_fault = task_fault or gateway.script.next_fault("task", prompt=request.prompt)
    if task_fault is not None and task_fault.outcome:
        record.fault = task_fault.name
        gateway.jobs.set_outcome(job, task_fault.outcome, task_fault.reason)
    job.delivery_fault = delivery_fault
    if request.notification is not None:
        gateway.webhooks.queue.watch(job)
    if fault is None:
        return await _job_response(gateway, record, job, submit=submit)
    return await _accepted_with_fault(gateway, record, job, fault, submit=submit)


async def _accepted_with_fault(
    gateway: Gateway, record: RecordedRequest, job: ImageJob, fault: Fault, *, submit: bool
) -> Response:
    if fault.refunded:
        job.tracked = False  # the client never gets a task to poll
        gateway.jobs.end(job, "failed", fault.message)
        return gateway.fault_response(fault, record)
    body = b""
    if fault.wire in ("slow", "truncate"):  # the true response, which does not get through
        body = (await _job_response(gateway, record, job, submit=submit)).body
    return gateway.fault_response(fault, record, body)


async def _job_response(gateway: Gateway, record: RecordedRequest, job: ImageJob, *, submit: bool) -> Response:
    if job.tracked:
        return Response(200, submit_body(job, one_shot=not submit), headers=_routing(job), record=record)
    if not await gateway.wait_for(job):
        return gateway.fault_response(FAULTS["gateway_timeout_408"], record)
    if job.outcome in ("failed", "cancelled"):
        reason = job.reason
        if isinstance(reason, dict) and reason.get("code") == "prompt_blocked":
            return gateway.fault_response(FAULTS["prompt_blocked"], record)
        return gateway.fault_response(FAULTS["generation_failed_502"], record)
    if job.outcome == "no_image":
        return Response(200, one_shot_body(job, (), None), headers=_routing(job), record=record)
    urls = gateway.urls(job)
    wants_b64 = job.request.b64 or job.dialect.b64
    encoded = await encoded_pictures(gateway, job.image_tokens) if wants_b64 else None
    body = one_shot_body(job, urls, encoded, code=submit and job.dialect.code)
    return Response(200, body, headers=_routing(job), record=record)


def _routing(job: ImageJob) -> tuple[tuple[str, str], ...]:
    """The header of a response for which the gateway tried another channel."""
    return (("x-apimaster-routing-retry", "1"),) if job.dialect.extra_fields else ()


async def _read_body(http_request: Request, limit: int) -> bytes:
    claimed = http_request.headers.get("content-length", "")
    if claimed.isdecimal() and int(claimed) > limit:
        raise Refusal(413, *_TOO_LARGE)
    pieces: list[bytes] = []
    size = 0
    async for piece in http_request.stream():
        size += len(piece)
        if size > limit:
            raise Refusal(413, *_TOO_LARGE)
        pieces.append(piece)
    return b"".join(pieces)


async def _read_request(
    gateway: Gateway, record: RecordedRequest, raw: bytes, headers: Headers, *, edit: bool
) -> GenerationRequest:
    content_type = headers.get("content-type", "")
    form = await read_form(raw, headers) if edit and is_form(content_type) else None
    if form is None and content_type and "json" not in content_type:
        raise Refusal(400, "the body must be application/json")

    def parse() -> GenerationRequest:
        document = parse_body(raw) if form is None else form
        record.body = abbreviated(document)
        if edit and not document.get("image_urls"):
            raise Refusal(400, "image is required")
        checked = check_request(document, gateway.options.prices)
        gateway.uploads.look_up(checked)
        return checked

    request = await gateway.threads.run(parse) if len(raw) > _LARGE_BODY else parse()
    record.references, record.mask = request.references, request.mask
    return request


def _balance_covers(gateway: Gateway, request: GenerationRequest, dialect: Dialect, *, submit: bool) -> bool:
    if gateway.balance is None:
        return True
    price = (request.price or Decimal(0)) * dialect.images_for(request.n, submit=submit)
    return gateway.bill.total + price <= gateway.balance
