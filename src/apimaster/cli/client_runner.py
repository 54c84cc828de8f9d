"""Runs a client inside a command: with the gateway or the emulator, and with a Ctrl-C that loses nothing.

It runs the asynchronous client, because an asyncio task can be cancelled at any point.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import urlsplit

from .. import AsyncAPIMaster
from ..errors import APIMasterError, BadRequestError
from ..ledger.location import LEDGER_VARIABLE
from ..results import Task
from .progress import ProgressView
from .resume import CommandStopped, ResumeCommand

if TYPE_CHECKING:
    from ..emulator import Emulator
    from ..ledger import Ledger

T = TypeVar("T")

_IN_MEMORY: Final = "sqlite://"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the client of a command sends its requests; None leaves it to the settings."""

    api_key: str | None = None
    base_url: str | None = None
    emulated: bool = False
    ledger: Ledger | str | None = None


@contextmanager
def open_endpoint(*, emulator: bool, base_url: str | None, ledger: str | None = None) -> Iterator[Endpoint]:
    """The gateway, or an emulator that lives as long as the block.

    Raises:
        BadRequestError: the command line names both, or the extra ``emulator`` is not installed.
    """
    if not emulator:
        yield Endpoint(base_url=base_url, ledger=ledger)
        return
    if base_url is not None:
        raise BadRequestError(
            "--emulator and --base-url exclude each other: the emulator has an address of its own",
            advice="Leave one of them out.",
        )
    emulator_class = import_emulator()
    with emulator_class(latency=(1.0, 2.0)) as running:
        _bypass_proxy_for(running.base_url)
        # A ledger would take the emulator's pictures for bought ones: that of the environment is not used.
        unused = _IN_MEMORY if os.environ.get(LEDGER_VARIABLE) else None
        yield Endpoint(running.api_key, running.base_url, emulated=True, ledger=unused)


def import_emulator() -> type[Emulator]:
    """The ``Emulator`` class.

    Raises:
        BadRequestError: the extra ``emulator`` is not installed.
    """
    try:
        from ..emulator import Emulator as found
    except ModuleNotFoundError as missing:
        raise BadRequestError(
            f"The emulator needs {missing.name}, which is not installed.",
            advice='Install it with: pip install "apimaster[emulator]"',
        ) from None
    return found


def run_with_client(
    work: Callable[[AsyncAPIMaster], Awaitable[T]],
    endpoint: Endpoint,
    *,
    progress: ProgressView | None = None,
    resume: ResumeCommand,
) -> T:
    """What ``work`` returns; the client is made for it, and closed after it.

    Raises:
        CommandStopped: it failed or was interrupted; for each task that is under way there is a line to resume it.
    """

    async def run() -> T:
        async with AsyncAPIMaster(
            api_key=endpoint.api_key, base_url=endpoint.base_url, ledger=endpoint.ledger
        ) as client:
            return await work(client)

    try:
        return asyncio.run(run())
    except KeyboardInterrupt:
        raise CommandStopped(
            None,
            () if endpoint.emulated or progress is None else resume.for_tasks(progress.under_way),
            unconfirmed=0 if progress is None else progress.unconfirmed,
            saved=() if progress is None else progress.saved,
            emulated=endpoint.emulated,
        ) from None
    except APIMasterError as error:
        commands = () if endpoint.emulated else resume.for_tasks(_with_image_numbers(error.tasks, progress))
        saved = () if progress is None else progress.saved
        raise CommandStopped(error, commands, saved=saved, emulated=endpoint.emulated) from error


def _with_image_numbers(tasks: tuple[Task, ...], progress: ProgressView | None) -> list[tuple[int, Task]]:
    """Each task with the number of its image, which is in the file's name if there are several."""
    numbers = {} if progress is None else progress.image_numbers
    return [(numbers.get(task.id, position), task) for position, task in enumerate(tasks)]


def _bypass_proxy_for(url: str) -> None:
    """Keep a proxy of the environment away from the emulator: it could not reach this machine's loopback address."""
    host = urlsplit(url).hostname or ""
    for name in ("NO_PROXY", "no_proxy"):
        value = os.environ.get(name, "")
        os.environ[name] = f"{value},{host}" if value else host
