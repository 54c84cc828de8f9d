"""``apimaster generate``: from a prompt to pictures on disk."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer

from .. import AsyncAPIMaster, ImageRequest, ImageResult
from ..results import ImageFailure
from . import options, printing
from .client_runner import endpoint, wait_for
from .exit_codes import exit_code_of
from .progress import watching
from .resume import Resume


class ModeName(str, Enum):
    """The values of ``--mode``."""

    AUTO = "auto"
    SYNC = "sync"
    ASYNC = "async"


def generate(
    prompt: Annotated[str, typer.Argument(help="What to draw.", show_default=False)],
    aspect_ratio: options.AspectRatio = None,
    resolution: options.Resolution = None,
    ref: Annotated[
        list[str] | None,
        typer.Option("--ref", metavar="PATH|URL", help="A reference image; may be given several times."),
    ] = None,
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
    model: options.Model = None,
    out: options.Out = ".",
    timeout: options.Timeout = None,
    emulator: options.Emulator = False,
    base_url: options.BaseUrl = None,
    as_json: options.AsJson = False,
) -> int:
    """Draw one picture or several, and save them.

    Each picture is a job and a charge of its own. Ctrl-C is safe: it prints the command that picks up what is
    under way.
    """
    asked = {
        "model": model,
        "aspect_ratio": aspect_ratio,
        "resolution": resolution,
        "references": tuple(ref or ()) or None,
        "n": count,
        # Absent is not the same as false on the wire, so a switch that was not thrown says nothing.
        "google_search": google_search or None,
        "google_image_search": google_image_search or None,
    }
    request = ImageRequest(prompt=prompt, **{name: value for name, value in asked.items() if value is not None})
    resume = Resume(out, base_url, total=request.n)

    with (
        endpoint(emulator=emulator, base_url=base_url) as place,
        watching(request.n, printing.dollars(request.cost)) as watch,
    ):

        async def work(client: AsyncAPIMaster) -> ImageResult:
            return await client.generate(request, mode=mode.value, save_to=out, timeout=timeout, on_progress=watch.note)

        result = wait_for(work, place, watch=watch, resume=resume)
    unfinished = [] if emulator else _resumable(result, resume)
    if as_json:
        printing.print_json({**result.model_dump(mode="json"), "resume": unfinished, "emulated": emulator})
    else:
        _show(result, unfinished)
    if emulator:
        printing.note("Drawn by the emulator on this machine: no money was spent.")
    return exit_code_of(result.failures)


def _show(result: ImageResult, unfinished: list[str]) -> None:
    for line in printing.rows(result):
        printing.say(line)
    for image in result.images:
        for deviation in image.deviations:
            printing.note(f"Note: {image.path or image.url}: {deviation}.")
    for failure in result.failures:
        printing.note(f"Image {failure.index + 1} is missing: {printing.sentence(failure.message, failure.billed)}")
    for command in unfinished:
        printing.note(f"To pick it up: {command}")


def _resumable(result: ImageResult, resume: Resume) -> list[str]:
    """Tasks that are paid for and whose pictures did not get here."""

    def paid(failure: ImageFailure) -> bool:
        return failure.billed != "no"

    return resume.commands([(each.index, each.task) for each in result.failures if each.task and paid(each)])
