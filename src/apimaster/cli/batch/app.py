"""``apimaster batch``: the command lines of ``run``, ``resume``, ``status`` and ``export``."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from ...batch.list_files import ImageList, is_local_path, read_image_list
from ...batch.list_text import name_of
from ...batch.options import check_options
from ...batch.place import place_of
from ...errors import BadRequestError
from .. import options
from ..client_runner import open_endpoint
from ..exit_codes import OK
from ..printing import print_json, print_message, shortened
from . import status as status_commands
from .run import BatchCommand, run_batch

batch_app = typer.Typer(
    name="batch",
    help="Many images from a list, durably: each is paid for at most once, and nothing paid for is lost.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def register(app: typer.Typer) -> None:
    """Add the group to the ``apimaster`` command."""
    app.add_typer(batch_app, name="batch")


class FormatName(str, Enum):
    """The values of ``run --format``."""

    JSONL = "jsonl"
    JSON = "json"
    CSV = "csv"
    YAML = "yaml"
    TEXT = "text"


class ExportName(str, Enum):
    """The values of ``export --format``."""

    JSONL = "jsonl"
    CSV = "csv"


_Directory = Annotated[Path, typer.Argument(help="The batch's folder.", show_default=False)]
_Concurrency = Annotated[int, typer.Option("--concurrency", metavar="COUNT", help="Images under way at once, at most.")]
_MaxCost = Annotated[
    str | None,
    typer.Option(
        "--max-cost", metavar="USD", help="Never spend more in this folder, over all runs; later runs keep the limit."
    ),
]
_MaxImages = Annotated[
    int | None,
    typer.Option(
        "--max-images", metavar="COUNT", help="Never pay for more images in this folder; later runs keep the limit."
    ),
]
_RetryFailed = Annotated[
    bool, typer.Option("--retry-failed", help="Try failed images again; they cost nothing so far.")
]
_RetryUnknown = Annotated[
    bool,
    typer.Option("--retry-unknown", help="Submit unknown images again: each of them may be charged a second time."),
]
_Elsewhere = Annotated[
    bool,
    typer.Option(
        "--continue-elsewhere",
        help="Buy here although the folder was bought at another gateway; what an emulator drew is all bought.",
    ),
]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what the run would do and cost, and stop.")]
_Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask; needed if nobody can answer.")]
_AsJson = Annotated[bool, typer.Option("--json", help="One JSON object per event on stdout, and nothing else.")]
_Ledger = Annotated[
    str | None,
    typer.Option(
        "--ledger",
        metavar="PLACE",
        help="A ledger that batches share (a file or a URL); the folder remembers it. Default: the folder's own.",
    ),
]
_Timeout = Annotated[
    float | None, typer.Option("--timeout", metavar="SECONDS", help="For one image; default: by resolution.")
]


@batch_app.command("run")
def run(
    file: Annotated[
        str, typer.Argument(help="JSON, JSONL, CSV, YAML, or a prompt per line; - for stdin.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="The batch's folder.", show_default=False)],
    aspect_ratio: options.AspectRatio = None,
    resolution: options.Resolution = None,
    ref: Annotated[
        list[str] | None,
        typer.Option("--ref", metavar="PATH|URL", help="A reference image for lines that name none."),
    ] = None,
    references_by: options.ReferencesBy = options.ReferencesByName.AUTO,
    count: options.Count = 1,
    google_search: Annotated[
        bool, typer.Option("--google-search", help="Ground the pictures in a Google search.")
    ] = False,
    google_image_search: Annotated[
        bool, typer.Option("--google-image-search", help="Ground them in an image search.")
    ] = False,
    model: options.Model = None,
    form: Annotated[
        FormatName | None, typer.Option("--format", help="Format of FILE; default: by its content.")
    ] = None,
    concurrency: _Concurrency = 32,
    max_cost: _MaxCost = None,
    max_images: _MaxImages = None,
    retry_failed: _RetryFailed = False,
    retry_unknown: _RetryUnknown = False,
    continue_elsewhere: _Elsewhere = False,
    timeout: _Timeout = None,
    ledger: _Ledger = None,
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", help="Of the batch, in its ledger; default: that of the folder."),
    ] = None,
    dry_run: _DryRun = False,
    yes: _Yes = False,
    emulator: options.Emulator = False,
    base_url: options.BaseUrl = None,
    as_json: _AsJson = False,
) -> int:
    """Make the pictures that FILE lists; the options apply to lines that don't set their own.

    It checks all lines first, and shows the cost. Stop it at any time: the same command goes on where it stopped.
    """
    defaults = {
        "model": model,
        "aspect_ratio": aspect_ratio,
        "resolution": resolution,
        "references": [str(Path(one).absolute()) if is_local_path(one) else one for one in ref] if ref else None,
        "n": count,
        # On the wire, absent is not the same as false: a switch that is not set sends nothing.
        "google_search": google_search or None,
        "google_image_search": google_image_search or None,
    }
    run_options = check_options(
        concurrency=concurrency,
        timeout=timeout,
        max_cost=max_cost,
        max_images=max_images,
        retry_failed=retry_failed,
        retry_unknown=retry_unknown,
        continue_elsewhere=continue_elsewhere,
        emulated=emulator,
    )
    found = read_image_list(file, form=form.value if form is not None else None, defaults=defaults)
    if found.form == "text":
        print_message(_reading_as_prompts(name_of(file), found))
    can_ask = file != "-" and sys.stdin.isatty()
    command = BatchCommand(
        out,
        found.images,
        run_options,
        ask=not yes,
        can_ask=can_ask,
        as_json=as_json,
        ledger=ledger,
        name=name,
        base_url=base_url,
        references_by=references_by.value,
    )
    return _run(command, dry_run=dry_run, emulator=emulator, base_url=base_url)


def _reading_as_prompts(name: str, found: ImageList) -> str:
    """What is about to be bought of a free text, for somebody whose file is none."""
    first = shortened(found.images[0].request.prompt, 80)
    left_out = ""
    if found.comments:
        lines = "1 comment line" if found.comments == 1 else f"{found.comments:,} comment lines"
        left_out = f"; {lines} (#) left out"
    return f"Reading {name} as one prompt per line; first: {first}{left_out}"


@batch_app.command("resume")
def resume(
    directory: _Directory,
    references_by: options.ReferencesBy = options.ReferencesByName.AUTO,
    concurrency: _Concurrency = 32,
    max_cost: _MaxCost = None,
    max_images: _MaxImages = None,
    retry_failed: _RetryFailed = False,
    retry_unknown: _RetryUnknown = False,
    continue_elsewhere: _Elsewhere = False,
    timeout: _Timeout = None,
    ledger: _Ledger = None,
    dry_run: _DryRun = False,
    yes: _Yes = False,
    emulator: options.Emulator = False,
    base_url: options.BaseUrl = None,
    as_json: _AsJson = False,
) -> int:
    """Go on with a batch: collect what is paid for, and submit what is still planned."""
    run_options = check_options(
        concurrency=concurrency,
        timeout=timeout,
        max_cost=max_cost,
        max_images=max_images,
        retry_failed=retry_failed,
        retry_unknown=retry_unknown,
        continue_elsewhere=continue_elsewhere,
        emulated=emulator,
    )
    can_ask = sys.stdin.isatty()
    command = BatchCommand(
        directory,
        None,
        run_options,
        ask=not yes,
        can_ask=can_ask,
        as_json=as_json,
        ledger=ledger,
        base_url=base_url,
        references_by=references_by.value,
    )
    return _run(command, dry_run=dry_run, emulator=emulator, base_url=base_url)


def _run(command: BatchCommand, *, dry_run: bool, emulator: bool, base_url: str | None) -> int:
    if emulator and command.ledger is not None:
        raise BadRequestError(
            "--emulator excludes --ledger: a ledger would take the emulator's pictures for bought ones",
            advice="Leave one of them out.",
        )
    with open_endpoint(emulator=emulator, base_url=base_url) as endpoint:
        code = run_batch(command, endpoint, dry_run=dry_run)
    if emulator and not dry_run and not command.as_json:
        print_message("Drawn by the emulator on this machine: no money was spent.")
    return code


@batch_app.command("status")
def status(
    directory: _Directory,
    ledger: _Ledger = None,
    watch: Annotated[bool, typer.Option("--watch", help="Keep showing it until every image has ended.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, and nothing else.")] = False,
) -> int:
    """Show the state of a batch, also while it runs."""
    place = place_of(directory, ledger)
    if as_json:
        print_json(status_commands.status_document(place))
    elif watch:
        status_commands.watch_status(place)
    else:
        status_commands.print_status(place)
    return OK


@batch_app.command("export")
def export(
    directory: _Directory,
    ledger: _Ledger = None,
    form: Annotated[
        ExportName | None, typer.Option("--format", help="Default: by the ending of --output, else jsonl.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Default: stdout.")] = None,
    gallery: Annotated[
        bool, typer.Option("--gallery", help="Instead, write index.html and manifest.jsonl again.")
    ] = False,
) -> int:
    """Write one flat record per image: always the same columns of the same types, so Parquet tools can read it."""
    place = place_of(directory, ledger)
    if gallery:
        if output is not None or form is not None:
            raise BadRequestError(
                "--gallery writes into the folder itself", advice="Leave --output and --format out, or --gallery."
            )
        print_message(f"Written: {status_commands.rewrite_gallery(place)}")
        return OK
    if form is None:
        form = ExportName.CSV if output is not None and output.suffix.lower() == ".csv" else ExportName.JSONL
    status_commands.export(place, form.value, output)
    return OK
