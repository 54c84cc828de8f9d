"""Running a client inside a command: against the gateway or the emulator, with a Ctrl-C that loses nothing.

The asynchronous client does the work, because an asyncio task can be cancelled in the middle of anything.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from .. import AsyncAPIMaster
from ..errors import APIMasterError, BadRequestError
from ..results import Task
from .progress import Watch
from .resume import Resume, Stopped

if TYPE_CHECKING:
    from ..emulator import Emulator

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the client of a command goes; None leaves it to the settings."""

    api_key: str | None = None
    base_url: str | None = None
    emulated: bool = False


@contextmanager
def endpoint(*, emulator: bool, base_url: str | None) -> Iterator[Endpoint]:
    """The gateway, or an emulator that lives as long as the block.

    Raises:
        BadRequestError: both were asked for, or the extra ``emulator`` is not installed.
    """
    if not emulator:
        yield Endpoint(base_url=base_url)
        return
    if base_url is not None:
        raise BadRequestError("--emulator and --base-url exclude each other: the emulator has an address of its own")
    emulator_class = import_emulator()
    with emulator_class(latency=(1.0, 2.0)) as running:
        _no_proxy_for(running.base_url)
        yield Endpoint(running.api_key, running.base_url, emulated=True)


def import_emulator() -> type[Emulator]:
    """The ``Emulator`` class.

    Raises:
        BadRequestError: the extra ``emulator`` is not installed.
    """
    try:
        from ..emulator import Emulator as found
    except ModuleNotFoundError as missing:
        raise BadRequestError(
            f'The emulator needs {missing.name}, which is not installed: pip install "apimaster[emulator]".'
        ) from None
    return found


def wait_for(
    work: Callable[[AsyncAPIMaster], Awaitable[T]], place: Endpoint, *, watch: Watch | None = None, resume: Resume
) -> T:
    """What ``work`` gives, with a client made for it and closed after it.

    Raises:
        Stopped: it failed or was interrupted; tasks that are under way are told with the command that resumes them.
    """

    async def inside() -> T:
        async with AsyncAPIMaster(api_key=place.api_key, base_url=place.base_url) as client:
            return await work(client)

    try:
        return asyncio.run(inside())
    except KeyboardInterrupt:
        raise Stopped(
            None,
            () if place.emulated or watch is None else resume.commands(watch.under_way),
            unsettled=0 if watch is None else watch.unsettled,
            saved=() if watch is None else watch.saved,
            emulated=place.emulated,
        ) from None
    except APIMasterError as error:
        commands = () if place.emulated else resume.commands(_numbered(error.tasks, watch))
        saved = () if watch is None else watch.saved
        raise Stopped(error, commands, saved=saved, emulated=place.emulated) from error


def _numbered(tasks: tuple[Task, ...], watch: Watch | None) -> list[tuple[int, Task]]:
    """Each task with the number of its image, by which a file of several is named."""
    known = {} if watch is None else watch.numbers
    return [(known.get(task.id, place), task) for place, task in enumerate(tasks)]


def _no_proxy_for(url: str) -> None:
    """Keep a proxy of the environment away from the emulator: it could not reach this machine's loopback."""
    host = urlsplit(url).hostname or ""
    for name in ("NO_PROXY", "no_proxy"):
        known = os.environ.get(name, "")
        os.environ[name] = f"{known},{host}" if known else host
