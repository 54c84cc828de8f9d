"""``apimaster probe``: which lines of docs/endpoint.md hold at a real gateway, fact by fact.

Without ``--spend`` it costs nothing. It writes a transcript without key, account or picture, from which
``apimaster emulator --like`` makes an emulator that acts as that gateway.
"""

from __future__ import annotations

import sys
from datetime import datetime, timezone
from decimal import Decimal, InvalidOperation
from importlib.metadata import version
from typing import Annotated

import typer

from ...catalog import DEFAULT_MODEL
from ...emulator.transcript import Transcript, read_transcript
from ...errors import APIMasterError, BadRequestError
from .. import options
from ..exit_codes import DIFFERS, OK, UNKNOWN
from ..printing import print_json, print_message, print_result
from ..resume import CommandStopped, ResumeCommand
from .fact import Outcome
from .facts import check_facts
from .free_calls import FIRST_STEP, make_free_calls, read_log
from .plan import Plan, plan_for
from .purchases import Shop
from .session import Session
from .transcript_file import TranscriptFile
from .wording import document, fact_lines, plan_lines, purchase_lines, sum_line


def probe(
    spend: Annotated[
        str | None,
        typer.Option("--spend", metavar="USD", help="Also buy pictures, for at most so much, after a question."),
    ] = None,
    out: Annotated[
        str | None, typer.Option("--out", "-o", metavar="PATH", help="The transcript, a new file; default: probe.json.")
    ] = None,
    read: Annotated[
        str | None, typer.Option("--read", metavar="PATH", help="Check a transcript again; sends nothing.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask before --spend.")] = False,
    base_url: options.BaseUrl = None,
    as_json: options.AsJson = False,
) -> int:
    """Check what this package believes about the gateway.

    Free without --spend. Writes a transcript that holds no key, account or picture.
    """
    if read is not None:
        if spend is not None or out is not None or base_url is not None:
            raise BadRequestError("--read sends nothing, so it takes neither --spend nor --out nor --base-url")
        return _report(_read(read), read, as_json=as_json)
    plan = None if spend is None else plan_for(_dollars(spend), DEFAULT_MODEL)
    transcript = Transcript(
        made_by=f"apimaster {version('apimaster')}",
        made_on=datetime.now(timezone.utc).date().isoformat(),
        model=DEFAULT_MODEL,
        spend=None if plan is None else str(plan.limit),
    )
    if plan is not None:
        _ask(plan, yes=yes)
    file = TranscriptFile(transcript, out)
    shop = _run(file, plan, base_url)
    if file.failure is not None:
        raise file.failure
    code = _report(transcript, str(file.path), as_json=as_json)
    if shop is not None:
        for path in shop.saved:
            print_message(f"Picture: {path}")
    if not as_json:
        print_message(f"Transcript: {file.path}. It holds no key, account or picture, so it can go into an issue.")
    return code


def _run(file: TranscriptFile, plan: Plan | None, base_url: str | None) -> Shop | None:
    shop: Shop | None = None
    try:
        with Session(file, base_url) as session:
            make_free_calls(session)
            if plan is None:
                read_log(session)
            else:
                shop = Shop(session, plan)
                shop.buy_all()
    except (KeyboardInterrupt, APIMasterError) as fault:
        if all(each.step == FIRST_STEP for each in file.transcript.exchanges):
            # A wrong key, or no gateway: nothing to keep, and the file must not be in the way of the next try.
            file.path.unlink(missing_ok=True)
        else:
            print_message(f"What was recorded is in {file.path}")
        tasks = enumerate([] if shop is None else shop.tasks)
        raise CommandStopped(
            fault if isinstance(fault, APIMasterError) else None,
            ResumeCommand(f"{file.folder}/", base_url, total=2).for_tasks(tasks),
            unconfirmed=sum(each.state == "sent" for each in file.transcript.purchases),
            saved=() if shop is None else shop.saved,
        ) from None
    return shop


def _report(transcript: Transcript, path: str, *, as_json: bool) -> int:
    outcomes = check_facts(transcript)
    code = _exit_code(transcript, outcomes)
    if as_json:
        print_json(document(transcript, outcomes, path=path, code=code))
        return code
    for line in [*fact_lines(outcomes), "", *purchase_lines(transcript), sum_line(outcomes)]:
        print_result(line)
    return code


def _exit_code(transcript: Transcript, outcomes: list[Outcome]) -> int:
    if any(each.state in ("sent", "unknown", "task") for each in transcript.purchases):
        return UNKNOWN
    return DIFFERS if any(outcome.seen.state == "differs" for outcome in outcomes) else OK


def _read(path: str) -> Transcript:
    try:
        return read_transcript(path)
    except ValueError as fault:
        advice = "Name a file that `apimaster probe` has written."
        raise CommandStopped(BadRequestError(str(fault)), advice=advice, local=True) from None


def _dollars(text: str) -> Decimal:
    try:
        amount = Decimal(text.strip().removeprefix("$"))
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount <= 0:
        raise BadRequestError(f"--spend {text!r} is not an amount of US dollars; accepted: 0.12 or $0.12")
    return amount


def _ask(plan: Plan, *, yes: bool) -> None:
    for line in plan_lines(plan):
        print_message(line)
    if yes:
        return
    if not sys.stdin.isatty():
        raise BadRequestError("--spend asks before it buys anything, and nobody can answer", advice="Add --yes.")
    typer.confirm("Buy them?", abort=True, err=True)
