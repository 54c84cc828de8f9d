"""``apimaster batch``: ``run``, ``resume``, ``status``, ``export``. What they do: ``command.py`` and ``report.py``."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from ...batch.api import check_wishes
from ...batch.inputs import is_local, read_file
from ...batch.plan import read_terms
from ...errors import BadRequestError
from .. import options, printing
from ..client_runner import endpoint
from ..exit_codes import OK
from . import status as status_view
from .run import Job, drive

batch_app = typer.Typer(
    name="batch",
    help="Many images from a list, durably: nothing is paid for twice, nothing that was paid for is lost.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def register(app: typer.Typer) -> None:
    """Hang the group into the ``apimaster`` command."""
    app.add_typer(batch_app, name="batch")


class FormatName(str, Enum):
    """The values of ``run --format``."""

    JSONL = "jsonl"
    CSV = "csv"
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
        "--max-cost", metavar="USD", help="Never spend more in this folder, over all runs; kept for later runs."
    ),
]
_MaxImages = Annotated[
    int | None,
    typer.Option("--max-images", metavar="COUNT", help="Never pay for more images in this folder; kept likewise."),
]
_RetryFailed = Annotated[
    bool, typer.Option("--retry-failed", help="Try failed images again; they cost nothing so far.")
]
_RetryUnknown = Annotated[
    bool,
    typer.Option("--retry-unknown", help="Submit unknown images again: each of them may be charged a second time."),
]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done and what it would cost, and stop.")]
_Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask; needed where nobody can be asked.")]
_AsJson = Annotated[bool, typer.Option("--json", help="One JSON object per event on stdout, and nothing else.")]
_Timeout = Annotated[
    float | None, typer.Option("--timeout", metavar="SECONDS", help="For one image; default: by resolution.")
]


@batch_app.command("run")
def run(
    file: Annotated[str, typer.Argument(help="JSONL, CSV, or a prompt per line; - for stdin.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="The batch's folder.", show_default=False)],
    aspect_ratio: options.AspectRatio = None,
    resolution: options.Resolution = None,
    ref: Annotated[
        list[str] | None,
        typer.Option("--ref", metavar="PATH|URL", help="A reference image for lines that name none."),
    ] = None,
    count: options.Count = 1,
    google_search: Annotated[
        bool, typer.Option("--google-search", help="Ground the pictures in a Google search.")
    ] = False,
    google_image_search: Annotated[
        bool, typer.Option("--google-image-search", help="Ground them in an image search.")
    ] = False,
    model: options.Model = None,
    form: Annotated[
        FormatName | None, typer.Option("--format", help="What FILE is; default: by its ending or first line.")
    ] = None,
    concurrency: _Concurrency = 32,
    max_cost: _MaxCost = None,
    max_images: _MaxImages = None,
    retry_failed: _RetryFailed = False,
    retry_unknown: _RetryUnknown = False,
    timeout: _Timeout = None,
    dry_run: _DryRun = False,
    yes: _Yes = False,
    emulator: options.Emulator = False,
    base_url: options.BaseUrl = None,
    as_json: _AsJson = False,
) -> int:
    """Make the pictures that FILE lists; options are for lines that don't say otherwise.

    All lines are checked first, and the cost is shown. Stop it at any time: running the same command again goes on.
    """
    defaults = {
        "model": model,
        "aspect_ratio": aspect_ratio,
        "resolution": resolution,
        "references": [str(Path(one).absolute()) if is_local(one) else one for one in ref] if ref else None,
        "n": count,
        # Absent is not the same as false on the wire, so a switch that was not thrown says nothing.
        "google_search": google_search or None,
        "google_image_search": google_image_search or None,
    }
    wishes = check_wishes(concurrency, timeout)
    terms = read_terms(max_cost, max_images, retry_failed=retry_failed, retry_unknown=retry_unknown)
    lines = read_file(file, form=form.value if form is not None else None, defaults=defaults)
    job = Job(out, lines, terms, wishes, ask=not yes, can_ask=file != "-" and sys.stdin.isatty(), as_json=as_json)
    return _driven(job, dry_run=dry_run, emulator=emulator, base_url=base_url)


@batch_app.command("resume")
def resume(
    directory: _Directory,
    concurrency: _Concurrency = 32,
    max_cost: _MaxCost = None,
    max_images: _MaxImages = None,
    retry_failed: _RetryFailed = False,
    retry_unknown: _RetryUnknown = False,
    timeout: _Timeout = None,
    dry_run: _DryRun = False,
    yes: _Yes = False,
    base_url: options.BaseUrl = None,
    as_json: _AsJson = False,
) -> int:
    """Go on with a batch: collect what is paid for, and submit what is still planned."""
    wishes = check_wishes(concurrency, timeout)
    terms = read_terms(max_cost, max_images, retry_failed=retry_failed, retry_unknown=retry_unknown)
    job = Job(directory, None, terms, wishes, ask=not yes, can_ask=sys.stdin.isatty(), as_json=as_json)
    return _driven(job, dry_run=dry_run, emulator=False, base_url=base_url)


def _driven(job: Job, *, dry_run: bool, emulator: bool, base_url: str | None) -> int:
    with endpoint(emulator=emulator, base_url=base_url) as place:
        code = drive(job, place, dry_run=dry_run)
    if emulator and not dry_run and not job.as_json:
        printing.note("Drawn by the emulator on this machine: no money was spent.")
    return code


@batch_app.command("status")
def status(
    directory: _Directory,
    watch: Annotated[bool, typer.Option("--watch", help="Keep showing it until everything has ended.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, and nothing else.")] = False,
) -> int:
    """Show how a batch stands, also while it runs."""
    if as_json:
        printing.print_json(status_view.document(directory))
    elif watch:
        status_view.watch(directory)
    else:
        status_view.table(directory)
    return OK


@batch_app.command("export")
def export(
    directory: _Directory,
    form: Annotated[
        ExportName | None, typer.Option("--format", help="Default: by the ending of --output, else jsonl.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Default: stdout.")] = None,
    gallery: Annotated[
        bool, typer.Option("--gallery", help="Write index.html and manifest.jsonl anew instead.")
    ] = False,
) -> int:
    """Write one flat record per image: always the same columns of the same types, so Parquet tools can read it."""
    if gallery:
        if output is not None or form is not None:
            raise BadRequestError("--gallery writes into the folder itself; leave --output and --format out")
        printing.note(f"Written: {status_view.refresh(directory)}")
        return OK
    if form is None:
        form = ExportName.CSV if output is not None and output.suffix.lower() == ".csv" else ExportName.JSONL
    status_view.export(directory, form.value, output)
    return OK
