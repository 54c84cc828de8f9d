"""``apimaster generate``: from a prompt to pictures on disk."""

from __future__ import annotations

import shlex
from enum import Enum
from pathlib import Path
from typing import Annotated, Final

import typer

from .. import AsyncAPIMaster, ImageRequest, ImageResult
from ..batch.list_text import STDIN, name_of, read_text
from ..batch.structure import request_in
from ..errors import BadRequestError
from ..request import is_blank
from . import options, printing
from .client_runner import open_endpoint, run_with_client
from .error_output import failure_paragraph
from .exit_codes import exit_code_for_failures
from .ledger.place import ledger_place
from .progress import show_progress
from .resume import ResumeCommand

_TEXT_FILES: Final = (".txt", ".md", ".json", ".jsonl", ".csv", ".tsv", ".yaml", ".yml")


class ModeName(str, Enum):
    """The values of ``--mode``."""

    AUTO = "auto"
    SYNC = "sync"
    ASYNC = "async"


def generate(
    prompt: Annotated[
        str | None, typer.Argument(help="What to draw; - reads it from stdin.", show_default=False)
    ] = None,
    prompt_file: Annotated[
        str | None, typer.Option("--prompt-file", metavar="FILE", help="Read the prompt from a file; - for stdin.")
    ] = None,
    aspect_ratio: options.AspectRatio = None,
    resolution: options.Resolution = None,
    ref: Annotated[
        list[str] | None,
        typer.Option("--ref", metavar="PATH|URL", help="A reference image; repeat it for several."),
    ] = None,
    mask: Annotated[
        str | None,
        typer.Option(
            "--mask",
            metavar="PATH|URL",
            help="A picture that marks what to change in the first --ref, if the model takes one.",
        ),
    ] = None,
    references_by: options.ReferencesBy = options.ReferencesByName.AUTO,
    count: options.Count = 1,
    mode: Annotated[
        ModeName, typer.Option("--mode", help="sync holds one connection open; async submits and polls.")
    ] = ModeName.AUTO,
    google_search: Annotated[
        bool, typer.Option("--google-search", help="Ground the picture in a Google search.")
    ] = False,
    google_image_search: Annotated[
        bool, typer.Option("--google-image-search", help="Ground it in an image search.")
    ] = False,
    webhook: Annotated[
        str | None,
        typer.Option("--webhook", metavar="ENDPOINT", help="A verified endpoint, whep_…, that is told of the end."),
    ] = None,
    client_reference_id: Annotated[
        str | None,
        typer.Option("--client-reference-id", metavar="TEXT", help="Your own reference, which the webhook repeats."),
    ] = None,
    model: options.Model = None,
    out: options.Out = ".",
    timeout: options.Timeout = None,
    emulator: options.Emulator = False,
    base_url: options.BaseUrl = None,
    idempotency_key: Annotated[
        str | None,
        typer.Option("--idempotency-key", metavar="KEY", help="In one ledger, the same key brings the same pictures."),
    ] = None,
    budget: Annotated[
        str | None, typer.Option("--budget", metavar="NAME", help="A budget of the ledger that must hold the price.")
    ] = None,
    ledger: options.LedgerPlace = None,
    as_json: options.AsJson = False,
) -> int:
    """Draw one picture or several, and save them.

    Each picture is a task and a charge of its own. Ctrl-C is safe: it prints the command that picks up what is
    under way.
    """
    fields = {
        "model": model,
        "aspect_ratio": aspect_ratio,
        "resolution": resolution,
        "references": tuple(ref or ()) or None,
        "mask": mask,
        "n": count,
        # On the wire, absent is not the same as false: a switch that is not set sends nothing.
        "google_search": google_search or None,
        "google_image_search": google_image_search or None,
        "webhook": webhook,
        "client_reference_id": client_reference_id,
    }
    request = ImageRequest.build(_prompt_of(prompt, prompt_file), fields)
    if emulator and (ledger, idempotency_key, budget) != (None, None, None):
        raise BadRequestError(
            "--emulator excludes --ledger, --idempotency-key and --budget: it sells nothing",
            advice="Leave them out; to try them, start `apimaster emulator` and name its address with --base-url.",
        )
    if idempotency_key is not None or budget is not None:
        ledger = ledger_place(ledger)
    resume = ResumeCommand(out, base_url, total=request.n, ledger=ledger)

    with (
        open_endpoint(emulator=emulator, base_url=base_url, ledger=ledger) as endpoint,
        show_progress(request.n, printing.dollars(request.cost)) as progress,
    ):

        async def work(client: AsyncAPIMaster) -> ImageResult:
            return await client.generate(
                request,
                mode=mode.value,
                save_to=out,
                timeout=timeout,
                on_progress=progress.update,
                idempotency_key=idempotency_key,
                budget=budget,
                references_by=references_by.value,
            )

        result = run_with_client(work, endpoint, progress=progress, resume=resume)
    unfinished = [] if emulator else _resume_commands(result, resume)
    if as_json:
        printing.print_json({**result.model_dump(mode="json"), "resume": unfinished, "emulated": emulator})
    else:
        _print(result, unfinished)
    if emulator:
        printing.print_message("Drawn by the emulator on this machine: no money was spent.")
    return exit_code_for_failures(result.failures)


def _prompt_of(prompt: str | None, file: str | None) -> str:
    """The prompt of the command line, or the whole text of a file or of stdin."""
    if (prompt is None) == (file is None):
        given = "both are given" if prompt is not None else "neither is given"
        raise BadRequestError(
            f"generate takes a PROMPT or --prompt-file, and {given}",
            advice="Say what to draw, or name a file that does; - is stdin.",
        )
    source = STDIN if prompt == STDIN else file
    if source is None:
        assert prompt is not None
        _refuse_file_name(prompt)
        _refuse_structure(prompt, "the prompt")
        return prompt
    text = read_text(source).replace("\r\n", "\n").strip()
    if is_blank(text):
        raise BadRequestError(f"{name_of(source)} holds no prompt", advice="Say in it what to draw.")
    _refuse_structure(text, name_of(source))
    return text


def _refuse_file_name(prompt: str) -> None:
    """Refuse ``@prompt.txt``, as curl reads it, and ``prompt.txt``, if there is such a file: neither is to be drawn."""
    name = prompt.removeprefix("@")
    try:
        is_one = (name != prompt or name.lower().endswith(_TEXT_FILES)) and Path(name).is_file()
    except (OSError, ValueError):  # too long for a path, or with a NUL in it
        return
    if is_one:
        advice = f"Draw what it holds with --prompt-file {shlex.quote(name)}."
        raise BadRequestError(f"the prompt {prompt!r} is the name of a file", advice=advice)


def _refuse_structure(text: str, name: str) -> None:
    """Refuse a list or a request in place of a prompt: its text would be drawn."""
    kind = request_in(text)
    if kind is not None:
        raise BadRequestError(
            f"{name} holds {kind}, not a prompt",
            advice="Write only the prompt, and give the rest as options; `apimaster batch` reads such files.",
        )


def _print(result: ImageResult, unfinished: list[str]) -> None:
    for line in printing.result_rows(result):
        printing.print_result(line)
    printing.print_price_list(result.price_list)
    if result.replayed:
        printing.print_message("Bought before with this idempotency key: nothing was charged now.")
    elif result.replayed_cost:
        paid = printing.dollars(result.replayed_cost)
        printing.print_message(f"Some were bought before with this idempotency key, for {paid}, which does not count.")
    for image in result.images:
        for deviation in image.deviations:
            printing.print_message(f"Note: {image.path or image.url}: {deviation}.")
    for failure in result.failures:
        printing.print_message(f"Image {failure.index + 1} is missing: {failure_paragraph(failure)}")
    for command in unfinished:
        printing.print_message(f"To pick it up: {command}")


def _resume_commands(result: ImageResult, resume: ResumeCommand) -> list[str]:
    """A command for each task that is or may be paid for, and whose picture is missing."""
    paid = [(each.index, each.task) for each in result.failures if each.task is not None and each.billed != "no"]
    return resume.for_tasks(paid)
