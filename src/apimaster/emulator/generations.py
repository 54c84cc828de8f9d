"""The two routes that cost money: one shot and submit.

In order: key, body, checks, fault, balance, charge, answer. A fault comes after the checks, so that a mistake of
the caller's shows instead of using up a scripted fault. Whatever the reply, the bill says what was charged.
"""

from __future__ import annotations

from decimal import Decimal

from starlette.requests import ClientDisconnect, Request

from .answers import Answer
from .checks import MAX_BODY, Order, Refusal, abbreviated, check, parse_body
from .dialects import Dialect
from .downloads import encoded_pictures
from .fault import Fault
from .faults import FAULTS
from .gateway import Gateway
from .jobs import Job
from .records import RecordedRequest
from .replies import finished_pictures, submitted

_THREAD_FROM = 256 * 1024  # bytes of a body from which reading it would hold up the others


async def generate(gateway: Gateway, request: Request, *, submit: bool) -> Answer:
    """Answer ``POST /v1/images/generations`` or, with ``submit``, ``…/async``."""
    record = gateway.records.begin(request.scope, "submit" if submit else "sync")
    if gateway.identify(record) is None:
        code = "invalid_token" if record.had_authorization else "missing_token"
        return gateway.error(record, 401, "Invalid token", "new_api_error", code)
    try:
        fault, dialect, latency = gateway.marked(record, "generate")
        ending, _, _ = gateway.marked(record, "task")
    except ValueError as error:
        return gateway.error(record, 400, str(error))
    if submit and not dialect.async_route:
        return gateway.error(record, 404, f"Invalid URL (POST {record.path})")
    try:
        raw = await _body(request)
        record.body_size = len(raw)
        order = await _order(gateway, record, raw, request.headers.get("content-type", ""))
    except Refusal as refusal:
        return gateway.error(record, refusal.status, refusal.message, refusal.kind, refusal.code)
    except ClientDisconnect:
        return Answer(400, wire="hang")
    fault = fault or gateway.script.next("generate", prompt=order.prompt)
    if fault is not None and not (fault.accepted or fault.refunded):
        return gateway.play(fault, record)
    if not _affordable(gateway, order, dialect, submit=submit):
        return gateway.play(FAULTS["no_balance_403"], record)
    job = gateway.begin(order, record, dialect, latency, submit=submit)
    ending = ending or gateway.script.next("task", prompt=order.prompt)
    if ending is not None and ending.outcome:
        record.fault = ending.name
        gateway.jobs.will_end(job, ending.outcome, ending.reason)
    return await _taken_on(gateway, record, job, fault, submit=submit)


async def _taken_on(
    gateway: Gateway, record: RecordedRequest, job: Job, fault: Fault | None, *, submit: bool
) -> Answer:
    if fault is None:
        return await _answer(gateway, record, job, submit=submit)
    if fault.refunded:
        gateway.jobs.end(job, "failed", fault.message)
        return gateway.play(fault, record)
    body = b""
    if fault.wire in ("slow", "truncate"):  # the true reply, but it does not get through
        body = (await _answer(gateway, record, job, submit=submit)).body
    return gateway.play(fault, record, body)


async def _answer(gateway: Gateway, record: RecordedRequest, job: Job, *, submit: bool) -> Answer:
    if job.tracked:
        return Answer(200, submitted(job, as_one_shot=not submit), record=record)
    job.polls_needed = None  # nobody will look at it
    if not await gateway.wait_for(job):
        return gateway.play(FAULTS["gateway_timeout_408"], record)
    if job.outcome in ("failed", "cancelled"):
        reason = job.reason
        if isinstance(reason, dict) and reason.get("code") == "prompt_blocked":
            return gateway.play(FAULTS["prompt_blocked"], record)
        return gateway.play(FAULTS["generation_failed_502"], record)
    if job.outcome == "no_image":
        return Answer(200, finished_pictures(job, (), None), record=record)
    urls = gateway.urls(job)
    wants_b64 = job.order.b64 or job.dialect.b64
    encoded = await encoded_pictures(gateway, job.image_tokens) if wants_b64 else None
    return Answer(200, finished_pictures(job, urls, encoded, code=submit and job.dialect.code), record=record)


async def _body(request: Request) -> bytes:
    pieces: list[bytes] = []
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size > MAX_BODY:
            raise Refusal(413, "request body too large", "new_api_error", "request_too_large")
        pieces.append(piece)
    return b"".join(pieces)


async def _order(gateway: Gateway, record: RecordedRequest, raw: bytes, content_type: str) -> Order:
    if content_type and "json" not in content_type:
        raise Refusal(400, "the body must be application/json")

    def read() -> Order:
        document = parse_body(raw)
        record.body = abbreviated(document)
        return check(document, gateway.options.models)

    order = await gateway.workers.run(read) if len(raw) > _THREAD_FROM else read()
    record.references = order.references
    return order


def _affordable(gateway: Gateway, order: Order, dialect: Dialect, *, submit: bool) -> bool:
    if gateway.balance is None:
        return True
    honours_n = dialect.sync_n if not submit and not dialect.sync_as_task else dialect.task_n
    price = (order.price or Decimal(0)) * (order.n if honours_n else 1)
    return gateway.bill.total + price <= gateway.balance
