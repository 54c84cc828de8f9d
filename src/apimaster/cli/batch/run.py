"""``batch run`` and ``batch resume``: print the plan, ask, run, show the progress, and print how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console

from ... import AsyncAPIMaster
from ...batch.async_run import AsyncRun
from ...batch.batch_folder import BatchFolder
from ...batch.image_list import PlannedImage
from ...batch.items import BatchItem
from ...batch.manifest import amount_text, record
from ...batch.options import RunOptions
from ...batch.outputs import GALLERY
from ...batch.place import Place, place_of
from ...batch.plan import Plan
from ...batch.runner import Runner
from ...errors import APIMasterError, BadRequestError, sentence
from ...ledger import Ledger, Settlement
from ...ledger.location import LEDGER_VARIABLE
from ...request import ReferencesBy
from ...settings import find_base_url
from ..error_output import command_advice, error_document
from ..exit_codes import FAILED, INTERRUPTED, OK, UNKNOWN, exit_code
from ..printing import print_json, print_message
from ..resume import shell_line
from ..signals import stop_signals
from . import wording
from .display import Display, LiveDisplay, PlainDisplay

if TYPE_CHECKING:
    from ..client_runner import Endpoint


@dataclass(frozen=True, slots=True)
class BatchCommand:
    """What the command line of a run asks for.

    Attributes:
        directory: the batch's folder.
        images: the list to make; None to resume.
        options: how to run it, and how far.
        ask: whether to ask before money is spent.
        can_ask: whether somebody can answer.
        as_json: events as JSON lines on stdout, and nothing for people.
        ledger: the place of a shared ledger; None: the folder's, or that of the environment.
        name: the batch's name; None: the folder's.
        base_url: the value of ``--base-url``, if it was given.
        references_by: how local reference images go out.
    """

    directory: Path
    images: list[PlannedImage] | None
    options: RunOptions
    ask: bool
    can_ask: bool
    as_json: bool
    ledger: str | None = None
    name: str | None = None
    base_url: str | None = None
    references_by: ReferencesBy = "auto"

    @property
    def resume_command(self) -> str:
        """The command that goes on with the batch where it was, ready to paste into a shell."""
        directory = str(self.directory)
        words = ["apimaster", "batch", "resume", f"./{directory}" if directory.startswith("-") else directory]
        if self.options.emulated:
            words.append("--emulator")
        if self.base_url is not None:
            words += ["--base-url", self.base_url]
        if self.references_by != "auto":
            words += ["--references-by", self.references_by]
        if not self.ask:
            words.append("--yes")
        return shell_line(words)


def run_batch(command: BatchCommand, endpoint: Endpoint, *, dry_run: bool) -> int:
    """Run a batch at ``endpoint``, and give the command's exit code."""
    place = place_of(command.directory, command.ledger, _default_ledger(endpoint), command.name)
    at = endpoint.base_url if endpoint.emulated else find_base_url(endpoint.base_url, env=os.environ)[0]
    plan = asyncio.run(_make_plan(command, place, at or ""))
    _print_plan(command, plan)
    if dry_run:
        return OK
    # Before the question: without a key the answer is of no use.
    client = AsyncAPIMaster(
        endpoint.api_key,
        base_url=endpoint.base_url,
        ledger=endpoint.ledger,
        references_by=command.references_by,
    )
    if plan.planned and command.ask:
        if not command.can_ask:
            raise BadRequestError(
                "Nobody can answer whether to spend this.", advice="Add --yes, or show the plan with --dry-run."
            )
        typer.confirm("Submit them?", abort=True, err=True)
    return asyncio.run(_run(command, place, client))


def _default_ledger(endpoint: Endpoint) -> Ledger | None:
    """The ledger that the environment names, unless this is the emulator, whose pictures nobody buys."""
    place = os.environ.get(LEDGER_VARIABLE, "").strip()
    return Ledger.shared(place) if place and not endpoint.emulated else None


async def _make_plan(command: BatchCommand, place: Place, base_url: str) -> Plan:
    async with BatchFolder(place, command.images, command.options) as folder:
        return await folder.plan(base_url)


async def _run(command: BatchCommand, place: Place, client: AsyncAPIMaster) -> int:
    console = Console(stderr=True)
    live = console.is_terminal and not command.as_json and os.environ.get("TERM") != "dumb"
    display: Display | None = None
    if not command.as_json:
        display = LiveDisplay(console, f"batch {command.directory}") if live else PlainDisplay(console)

    def show_item(item: BatchItem) -> None:
        if display is not None:
            display.ended(item)
        else:
            print_json({"event": "image", **record(item)})

    async with client, AsyncRun(client, place, command.images, command.options, show_item) as run:
        with _stop_on_signals(run, display):
            error = await _run_with_display(command, run, display)
        return _print_end(command, run, error)


async def _run_with_display(command: BatchCommand, run: AsyncRun, display: Display | None) -> APIMasterError | None:
    """Run to the end with the display beside it. Gives the error that stopped the run early, if there was one."""
    showing: asyncio.Task[None] | None = None
    started = asyncio.create_task(run.begun())
    finished = asyncio.create_task(run.finish())
    try:
        await asyncio.wait({started, finished}, return_when=asyncio.FIRST_COMPLETED)
        _print_settlement(command, run.settlement)
        if display is not None and started.done() and not finished.done():
            showing = asyncio.create_task(display.show(_RunView(run)))
        await finished
    except asyncio.CancelledError:
        if not finished.cancelled():  # this task was cancelled, and not the run
            raise
    except APIMasterError as error:
        if run.runner is None or run.stopped_by is not error:
            raise
        return error
    finally:
        for task in (started, showing):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
    return run.stopped_by


class _RunView:
    """A run, as the display needs it."""

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
        return self._runner.limit


@contextlib.contextmanager
def _stop_on_signals(run: AsyncRun, display: Display | None) -> Iterator[None]:
    """Stop gently at the first Ctrl-C or SIGTERM, and at once at the second."""
    loop = asyncio.get_running_loop()

    def stop() -> None:
        if run.halted:
            run.abort()
        elif display is not None:
            display.stopping()
        run.halt()

    numbers = stop_signals()
    before: dict[signal.Signals, Any] = {}
    for number in numbers:
        with contextlib.suppress(ValueError):  # not the main thread: the program around it handles signals
            try:
                loop.add_signal_handler(number, stop)
            except NotImplementedError:  # Windows
                before[number] = signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop))
    try:
        yield
    finally:
        for number in numbers:
            with contextlib.suppress(ValueError, NotImplementedError):
                loop.remove_signal_handler(number)
        for number, handler in before.items():
            signal.signal(number, handler)


def _print_plan(command: BatchCommand, plan: Plan) -> None:
    if not command.as_json:
        for line in wording.plan_lines(plan):
            print_message(line)
        return
    print_json(
        {
            "event": "plan",
            "planned": plan.planned,
            "cost_usd": amount_text(plan.cost),
            "unpriced": plan.unpriced,
            "fits": plan.fits,
            "fits_cost_usd": amount_text(plan.fits_cost),
            "under_way": plan.under_way,
            "saved": plan.saved,
            "failed": plan.failed,
            "unknown": plan.unknown,
            "set_aside": plan.set_aside,
            "spent_usd": amount_text(plan.spent),
            "max_cost_usd": amount_text(plan.terms.max_cost),
            "max_images": plan.terms.max_images,
        }
    )


def _print_settlement(command: BatchCommand, found: Settlement | None) -> None:
    """Print what the usage log told at the start, if it was asked."""
    if found is None or not (found.recovered or found.not_charged or found.still_unknown or found.note):
        return
    if not command.as_json:
        for line in wording.settlement_lines(found):
            print_message(line)
        return
    counts = {each: len(getattr(found, each)) for each in ("recovered", "not_charged", "still_unknown")}
    print_json({"event": "settled", **counts, "note": found.note or None})


def _print_end(command: BatchCommand, run: AsyncRun, error: APIMasterError | None) -> int:
    """Print how the run ended, and give the exit code."""
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
    gallery = command.directory / GALLERY
    if command.as_json:
        document: dict[str, Any] = {
            "event": "end",
            **{state: count for state, count in tally.counts.items() if state not in ("submitting", "delivered")},
            "under_way": tally.running,
            "spent_usd": amount_text(tally.spent),
            "gallery": str(gallery),
            "resume": command.resume_command if unfinished else None,
            "exit_code": code,
        }
        if error is not None:
            document |= error_document(error, code, resume_with=command.resume_command)
        print_json(document)
        return code
    if error is not None:  # without its charge, which is that of one image: the next line has the sum
        print_message(f"Stopped: {sentence(error.message)} {command_advice(error, resume_with=command.resume_command)}")
    for line in wording.end_lines(tally, command.resume_command):
        print_message(line)
    print_message(f"Gallery: {gallery}")
    if unfinished:
        print_message(f"To go on: {command.resume_command}")
    return code
