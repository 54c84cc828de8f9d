"""``apimaster task``: prints the state of a task, or waits for it and saves its pictures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from .. import AsyncAPIMaster, ImageResult, Task
from ..errors import BadRequestError, NotFoundError, sentence
from . import options, printing
from .client_runner import Endpoint, run_with_client
from .exit_codes import FAILED, OK
from .progress import show_progress
from .resume import CommandStopped, ResumeCommand


def task(
    task_id: Annotated[str, typer.Argument(metavar="ID", help="The id of the task.", show_default=False)],
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it has ended, and save its pictures.")] = False,
    model: options.Model = None,
    out: Annotated[
        str | None,
        typer.Option("--out", "-o", metavar="PATH", help="With --wait: a file, or a folder (default: this one)."),
    ] = None,
    timeout: options.Timeout = None,
    ledger: options.LedgerPlace = None,
    base_url: options.BaseUrl = None,
    as_json: options.AsJson = False,
) -> int:
    """Print the state of a task, or pick it up with --wait; neither is a second charge.

    The model must be the one that the task was submitted with.
    """
    endpoint = Endpoint(base_url=base_url, ledger=ledger)
    if not wait:
        if out is not None:
            raise BadRequestError("-o needs --wait", advice="Without --wait no picture is fetched: leave -o out.")
        return _print_state(task_id, model, endpoint, as_json=as_json)
    target = "." if out is None else out
    with show_progress(1, "charged already") as progress, _unknown_id_explained(task_id):

        async def work(client: AsyncAPIMaster) -> ImageResult:
            return await client.wait(task_id, model=model, timeout=timeout, save_to=target, on_progress=progress.update)

        result = run_with_client(
            work, endpoint, progress=progress, resume=ResumeCommand(target, base_url, ledger=ledger)
        )
    if as_json:
        printing.print_json(result.model_dump(mode="json"))
    else:
        for line in printing.result_rows(result):
            printing.print_result(line)
        printing.print_price_list(result.price_list)
    return OK


@contextmanager
def _unknown_id_explained(task_id: str) -> Iterator[None]:
    """Advise to check an id that the gateway does not know: nothing was charged for it, and nothing can resume it."""
    try:
        yield
    except CommandStopped as stop:
        error = stop.error
        if not isinstance(error, NotFoundError):
            raise
        unknown = NotFoundError(
            error.message, status_code=error.status_code, code=error.code, request_id=error.request_id
        )
        advice = f"Check the id {task_id}, and name its model with --model."
        raise CommandStopped(unknown, advice=advice) from None


def _print_state(task_id: str, model: str | None, endpoint: Endpoint, *, as_json: bool) -> int:
    async def work(client: AsyncAPIMaster) -> Task:
        return await client.retrieve(task_id, model=model)

    with _unknown_id_explained(task_id):
        found = run_with_client(work, endpoint, resume=ResumeCommand(".", endpoint.base_url))
    if as_json:
        printing.print_json(found.model_dump(mode="json"))
    else:
        percent = f" {found.progress:.0f} %" if found.progress is not None and not found.done else ""
        printing.print_result(f"{found.id}  {found.status}{percent}")
        for image in found.images:
            printing.print_result(image.url or "(the picture came without a URL)")
        if found.status == "failed":
            reason = sentence(found.error or "the gateway gave no reason")
            printing.print_message(f"It failed: {reason} The charge was refunded.")
    return FAILED if found.status == "failed" else OK
