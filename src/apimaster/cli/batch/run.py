"""What ``batch run`` and ``batch resume`` do: show the plan, ask, run, show how it goes, and say how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer
from rich.console import Console

from ... import AsyncAPIMaster
from ...batch.export import money, record
from ...batch.items import BatchItem
from ...batch.lines import Line
from ...batch.outputs import GALLERY
from ...batch.plan import Plan, Terms
from ...batch.run import AsyncRun
from ...batch.runner import Runner, Wishes
from ...batch.session import Session
from ...errors import APIMasterError, BadRequestError
from .. import printing
from ..exit_codes import FAILED, INTERRUPTED, OK, UNKNOWN, exit_code
from . import wording
from .display import Display, LiveDisplay, PlainDisplay

if TYPE_CHECKING:
    from ..client_runner import Endpoint

_SIGNALS: Final = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM"))


@dataclass(frozen=True, slots=True)
class Job:
    """What a command was told.

    Attributes:
        directory: the batch's folder.
        lines: what is asked for; None to resume.
        terms: limits, and what is tried again.
        wishes: how it is run.
        ask: whether to ask before money is spent.
        can_ask: whether there is anybody to ask.
        as_json: events as JSON lines on stdout, and nothing for people.
    """

    directory: Path
    lines: list[Line] | None
    terms: Terms
    wishes: Wishes
    ask: bool
    can_ask: bool
    as_json: bool

    @property
    def resume(self) -> str:
        """The command that goes on with it."""
        return f"apimaster batch resume {shlex.quote(str(self.directory))}"


def drive(job: Job, place: Endpoint, *, dry_run: bool) -> int:
    """Run a batch at ``place``, and give the command's exit code."""
    plan = asyncio.run(_look(job))
    _show_plan(job, plan)
    if dry_run:
        return OK
    # Without a key nothing is asked: the answer would be of no use.
    client = AsyncAPIMaster(place.api_key, base_url=place.base_url)
    if plan.planned and job.ask:
        if not job.can_ask:
            raise BadRequestError("Nobody can be asked whether to spend this: add --yes, or look with --dry-run.")
        typer.confirm("Submit them?", abort=True, err=True)
    return asyncio.run(_run(job, client))


async def _look(job: Job) -> Plan:
    async with Session(job.directory, job.lines, job.terms) as session:
        return await session.plan()


async def _run(job: Job, client: AsyncAPIMaster) -> int:
    console = Console(stderr=True)
    live = console.is_terminal and not job.as_json and os.environ.get("TERM") != "dumb"
    display: Display | None = None
    if not job.as_json:
        display = LiveDisplay(console, f"batch {job.directory}") if live else PlainDisplay(console)

    def note(item: BatchItem) -> None:
        if display is not None:
            display.ended(item)
        else:
            printing.print_json({"event": "image", **record(item)})

    async with client, AsyncRun(client, job.directory, job.lines, job.terms, job.wishes, note) as run:
        with _listening(run, display):
            error = await _watched(run, display)
        return _end(job, run, error)


async def _watched(run: AsyncRun, display: Display | None) -> APIMasterError | None:
    """Run to the end with the display beside it; what stopped it early."""
    picture: asyncio.Task[None] | None = None
    started = asyncio.create_task(run.begun())
    finished = asyncio.create_task(run.finish())
    try:
        await asyncio.wait({started, finished}, return_when=asyncio.FIRST_COMPLETED)
        if display is not None and started.done() and not finished.done():
            picture = asyncio.create_task(display.show(_View(run)))
        await finished
    except asyncio.CancelledError:
        if not finished.cancelled():  # it is this task that was cancelled
            raise
    except APIMasterError as error:
        if run.runner is None or run.stopped_by is not error:
            raise
        return error
    finally:
        for task in (started, picture):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
    return run.stopped_by


class _View:
    """A run as the display wants it."""

    def __init__(self, run: AsyncRun) -> None:
        assert run.runner is not None
        self._runner: Runner = run.runner
        self.tally = self._runner.tally
        self.throttle = self._runner.throttle

    @property
    def halted(self) -> bool:
        return self._runner.halted

    @property
    def limit(self) -> Decimal | None:
        return self._runner.budget.max_cost


@contextlib.contextmanager
def _listening(run: AsyncRun, display: Display | None) -> Iterator[None]:
    """Ctrl-C, or a polite request to end: the gentle way first, at once the second time."""
    loop = asyncio.get_running_loop()

    def stop() -> None:
        if run.halted:
            run.abort()
        elif display is not None:
            display.stopping()
        run.halt()

    before: dict[int, Any] = {}
    for number in _SIGNALS:
        with contextlib.suppress(ValueError):  # not the main thread: somebody else minds the signals
            try:
                loop.add_signal_handler(number, stop)
            except NotImplementedError:  # Windows
                before[number] = signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop))
    try:
        yield
    finally:
        for number in _SIGNALS:
            with contextlib.suppress(ValueError, NotImplementedError):
                loop.remove_signal_handler(number)
        for number, handler in before.items():
            signal.signal(number, handler)


def _show_plan(job: Job, plan: Plan) -> None:
    if not job.as_json:
        for line in wording.plan_lines(plan):
            printing.note(line)
        return
    printing.print_json(
        {
            "event": "plan",
            "planned": plan.planned,
            "cost_usd": money(plan.cost),
            "unpriced": plan.unpriced,
            "fits": plan.fits,
            "fits_cost_usd": money(plan.fits_cost),
            "under_way": plan.under_way,
            "saved": plan.saved,
            "failed": plan.failed,
            "unknown": plan.unknown,
            "set_aside": plan.set_aside,
            "spent_usd": money(plan.spent),
            "max_cost_usd": money(plan.terms.max_cost),
            "max_images": plan.terms.max_images,
        }
    )


def _end(job: Job, run: AsyncRun, error: APIMasterError | None) -> int:
    tally = run.tally
    if tally is None:
        return INTERRUPTED
    unfinished = tally.running + tally.counts["planned"]
    if run.halted and unfinished:
        code = INTERRUPTED
    elif error is not None:
        code = exit_code(error)
    elif tally.counts["unknown"] or tally.running:
        code = UNKNOWN
    else:
        code = FAILED if tally.counts["failed"] else OK
    gallery = job.directory / GALLERY
    if job.as_json:
        document: dict[str, Any] = {
            "event": "end",
            **{state: count for state, count in tally.counts.items() if state not in ("submitting", "delivered")},
            "under_way": tally.running,
            "spent_usd": money(tally.spent),
            "gallery": str(gallery),
            "resume": job.resume if unfinished else None,
            "exit_code": code,
        }
        if error is not None:
            document |= printing.error_document(error, code)
        printing.print_json(document)
        return code
    if error is not None:
        printing.note(f"Stopped: {printing.paragraph(error)}")
    for line in wording.end_lines(tally, shlex.quote(str(job.directory))):
        printing.note(line)
    printing.note(f"Gallery: {gallery}")
    if unfinished:
        printing.note(f"To go on: {job.resume}")
    return code
