"""Before anything is sent: the clock of a call, the place for its pictures, its records in the ledger, its references.

References are read, checked and uploaded once for all images of a call. That may take long, so the images are claimed
first: nobody else buys them meanwhile, and what dies before its request has cost nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from .._references.checked import CheckedReference, check_mask, check_references
from ..catalog import DEFAULT_RESOLUTION
from ..errors import APIMasterError
from ..ledger.digest import key_reused, request_digests, stored_request
from ..ledger.rows import Row
from ..ledger.schema import Where
from ..ledger.steps import Begin
from ..request import ImageRequest
from .context import Context
from .image_run import CallOptions, ImageRun
from .model_notes import note_model
from .operations import Await, Flow, Instant, Now, RunBlocking, Sleep
from .purchase import LedgerLike, LedgerRecord
from .purchase_errors import no_ledger
from .reference_form import prepare_references
from .uploads import hash_references

# The whole call gets more than a one-shot call: a task may queue, and a poll is free.
_DEFAULT_TIMEOUT: Final = {"0.5K": 300.0, "1K": 300.0, "2K": 600.0, "4K": 1200.0}
_LARGEST_RESOLUTION: Final = "4K"
_PAUSE: Final = 0.1  # seconds


def begin_call(request: ImageRequest | None, options: CallOptions) -> Flow[ImageRun]:
    """Start the clock, and check the place for the pictures before any money is spent."""
    begun: Instant = yield Now()
    timeout = options.timeout
    if timeout is None:
        timeout = _DEFAULT_TIMEOUT[(request.resolution or DEFAULT_RESOLUTION) if request else _LARGEST_RESOLUTION]
    if options.target is not None:
        yield RunBlocking(options.target.check)
    return ImageRun(options, begun, begun.monotonic + timeout, total=request.n if request else 1)


def prepare(context: Context, request: ImageRequest, options: CallOptions) -> Flow[list[ImageRun]]:
    """The images of a call that buys, ready to begin.

    Raises:
        BadRequestError: the key stands for another request, maybe one for fewer images, or there is no ledger for it.
        LedgerError: the ledger can't be written.
        ReferenceImageError: a reference is not accepted, or all of them are too large for one request.
        APIMasterError: a reference could not be uploaded.
    """
    run = yield from begin_call(request, options)
    yield from note_model(context, request.model)
    if context.ledger is None:
        if options.key is not None or options.budget is not None:
            raise no_ledger("idempotency_key" if options.key is not None else "budget")
        references = yield from _read_references(request)
        references = yield from prepare_references(context, request, references, options.references_by, run.deadline)
        return [replace(run, index=index, references=references) for index in range(request.n)]
    records = _open_records(context, context.ledger, request, options)
    try:
        if request.references:
            for record in records:
                yield from record.claim()
        references = yield from _read_references(request)
        references = yield from hash_references(references)
        yield from _identify(context, context.ledger, request, references, records, run.deadline)
        if any(record.held for record in records):  # else another call buys them, or has bought them
            by = options.references_by
            references = yield from prepare_references(context, request, references, by, run.deadline)
    except APIMasterError as error:
        for record in records:
            record.take_back(error)
        raise
    except BaseException:
        for record in records:
            record.abandon()
        raise
    return [replace(run, index=index, references=references, record=record) for index, record in enumerate(records)]


def _read_references(request: ImageRequest) -> Flow[Sequence[CheckedReference]]:
    if not request.references:
        return ()
    spec = request.spec
    references: Sequence[CheckedReference] = yield RunBlocking(
        lambda: check_references(
            request.references,
            max_count=spec.max_references,
            max_bytes=spec.max_reference_bytes,
            model=spec.id,
            mask=request.mask,
        )
    )
    return references


def _open_records(
    context: Context, ledger: LedgerLike, request: ImageRequest, options: CallOptions
) -> list[LedgerRecord]:
    """A record for each image of a call, which does not say yet what a key stands for, nor its references."""

    def settle() -> Flow[str]:
        from .settle import settle_unknown  # rarely needed

        return (yield from settle_unknown(context))

    claim = secrets.token_hex(8)
    single = request if request.n == 1 else request.model_copy(update={"n": 1})
    without_references = single.model_copy(update={"references": (), "mask": None}) if single.references else single
    key = options.key or f"call-{claim}"
    stored = stored_request(without_references, prompts=ledger.store_prompts)
    price = request.spec.price(request.resolution)
    return [
        LedgerRecord(
            ledger,
            Begin(
                key=key,
                index=index,
                claim=f"{claim}.{index}",
                digest="",
                request=stored,
                price=price,
                budget=options.budget,
                account=context.account,
                alias=context.alias,
                settle_after=ledger.settle_after,
            ),
            single,
            settle,
            plan_again=context.plan_again,
        )
        for index in range(request.n)
    ]


def _first_row(ledger: LedgerLike, record: LedgerRecord, deadline: float) -> Flow[Row | None]:
    """The row of a call's first image, when it is known what it stands for: another call may be reading references."""
    step = record.begin_step
    where = Where(key=step.key, index=0)
    while True:
        rows: list[Row] = yield Await(lambda: ledger.call(lambda backend: backend.rows(where, None, 1)))
        now: Instant = yield Now()
        row = rows[0] if rows else None
        if row is None or row.digest or row.state != "claimed" or row.claim == step.claim or now.monotonic >= deadline:
            return row
        yield Sleep(_PAUSE)


def _identify(
    context: Context,
    ledger: LedgerLike,
    request: ImageRequest,
    references: Sequence[CheckedReference],
    records: Sequence[LedgerRecord],
    deadline: float,
) -> Flow[None]:
    """Note in the records what the caller asked for: another call with the key asks for the same if that is the same.

    Raises:
        BadRequestError: the key stands for another request, maybe one for fewer images.
    """
    compared = context.asked or request
    first = records[0]
    stored = first.begin_step.request
    if references:

        def facts() -> tuple[tuple[str, ...], str]:
            """Blocking: it reads the references."""
            # A deployment of LiteLLM may have added some.
            asked = [
                read
                for given, read in zip(request.references, references, strict=False)  # the mask comes after them
                if given in compared.references
            ]
            if compared.mask is not None:
                of_request = request.mask == compared.mask  # it may be dropped for the model that LiteLLM has chosen
                limit = request.spec.max_reference_bytes
                asked.append(references[-1] if of_request else check_mask(compared.mask, (), limit))
            return request_digests(compared, asked), stored_request(first.request, prompts=ledger.store_prompts)

        digests, stored = yield RunBlocking(facts)
    else:
        digests = request_digests(compared)
    if request.n > 1:
        # Each image is compared with its own row only, and a key that was used for fewer images has none for the rest.
        row = yield from _first_row(ledger, first, deadline)
        if row is not None and row.digest not in ("", *digests):
            raise key_reused(first.begin_step.key)
    for record in records:
        record.begin_step = replace(record.begin_step, digest=digests[0], same_digests=digests[1:], request=stored)
