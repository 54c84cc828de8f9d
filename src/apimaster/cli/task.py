"""``apimaster task``: look at a task that somebody submitted, or wait for it and save its pictures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, TypeVar

import typer

from .. import AsyncAPIMaster, ImageResult, Task
from ..errors import BadRequestError, NotFoundError
from . import options, printing
from .client_runner import Endpoint, wait_for
from .exit_codes import FAILED, OK
from .progress import watching
from .resume import Resume, Stopped

T = TypeVar("T")


def task(
    task_id: Annotated[str, typer.Argument(metavar="ID", help="The id of the task.", show_default=False)],
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it has ended, and save its pictures.")] = False,
    model: options.Model = None,
    out: Annotated[
        str | None,
        typer.Option("--out", "-o", metavar="PATH", help="With --wait: a file, or a folder (default: this one)."),
    ] = None,
    timeout: options.Timeout = None,
    base_url: options.BaseUrl = None,
    as_json: options.AsJson = False,
) -> int:
    """Look at a task, or pick it up: no second charge.

    The model must be the one that the task was submitted with.
    """
    place = Endpoint(base_url=base_url)
    if not wait:
        if out is not None:
            raise BadRequestError("-o needs --wait: only a picture can be saved, and a look fetches none")
        return _look(task_id, model, place, as_json=as_json)
    target = "." if out is None else out
    with watching(1, "charged already") as watch:

        async def work(client: AsyncAPIMaster) -> ImageResult:
            return await client.wait(task_id, model=model, timeout=timeout, save_to=target, on_progress=watch.note)

        result = _known(lambda: wait_for(work, place, watch=watch, resume=Resume(target, base_url)), task_id)
    if as_json:
        printing.print_json(result.model_dump(mode="json"))
    else:
        for line in printing.rows(result):
            printing.say(line)
    return OK


def _known(call: Callable[[], T], task_id: str) -> T:
    """What ``call`` gives. An id that the gateway does not know is most often a slip: nothing to pay, or to pick up."""
    try:
        return call()
    except Stopped as stop:
        if not isinstance(stop.error, NotFoundError):
            raise
        error = stop.error
        raise NotFoundError(
            f"{error.message.rstrip('.')}. Check the id {task_id}, and name its model with --model.",
            status_code=error.status_code,
            code=error.code,
            request_id=error.request_id,
        ) from None


def _look(task_id: str, model: str | None, place: Endpoint, *, as_json: bool) -> int:
    async def work(client: AsyncAPIMaster) -> Task:
        return await client.retrieve(task_id, model=model)

    found = _known(lambda: wait_for(work, place, resume=Resume(".", place.base_url)), task_id)
    if as_json:
        printing.print_json(found.model_dump(mode="json"))
    else:
        percent = f" {found.progress:.0f} %" if found.progress is not None and not found.done else ""
        printing.say(f"{found.id}  {found.status}{percent}")
        for image in found.images:
            printing.say(image.url or "(the picture came without a URL)")
        if found.status == "failed":
            reason = found.error or "the gateway gave no reason"
            printing.note(f"It failed: {reason.rstrip('.')}. The charge was given back.")
    return FAILED if found.status == "failed" else OK
