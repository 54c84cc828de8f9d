"""What ``apimaster webhooks listen`` does with an event: print it, run a command with it, or forward it.

An event comes from outside. It never becomes part of a command line: a command gets it on its stdin, and some of its
fields as environment variables. The command runs without a shell, and without the webhook secret in its environment.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shlex
import shutil
import signal
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import urlsplit

from ...errors import BadRequestError
from ...webhooks import WebhookEvent
from ..printing import flush_results, print_json

if TYPE_CHECKING:
    import httpx

SECRET_VARIABLE: Final = "APIMASTER_WEBHOOK_SECRET"  # noqa: S105  # the name of a variable

_EXEC_TAKES: Final = "Name a program on the PATH or its path, with its arguments, in one pair of quotes."
_END_TIME: Final = 5.0  # seconds between SIGTERM and SIGKILL
_LONGEST_VALUE: Final = 4096  # characters of an environment variable: all of them share a few hundred kilobytes


@dataclass(frozen=True, slots=True)
class Delivery:
    """A verified delivery: its event, and the raw body and headers."""

    event: WebhookEvent
    body: bytes
    headers: Mapping[str, str]


class ActionFailed(Exception):
    """The event was not handled, for the reason that this says.

    Attributes:
        counts: whether it was an attempt. If the command could not even be started, no event is given up for that.
    """

    def __init__(self, reason: str, *, counts: bool = True) -> None:
        super().__init__(reason)
        self.counts = counts


class Action(Protocol):
    """What happens with each event."""

    async def __call__(self, delivery: Delivery) -> None:
        """Handle it, or raise ActionFailed."""

    async def aclose(self) -> None:
        """Close what it holds."""


class PrintAction:
    """Prints each event as one line of JSON on stdout."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    async def __call__(self, delivery: Delivery) -> None:
        """Print one line, and deliver it into a pipe at once."""
        await asyncio.to_thread(self._print, delivery)  # the reader of a pipe may be slow

    def _print(self, delivery: Delivery) -> None:
        with self._lock:
            print_json(json.loads(delivery.body))
            flush_results()

    async def aclose(self) -> None:
        """Nothing to close."""


class CommandAction:
    """Runs a command for each event."""

    def __init__(self, command: str, timeout: float) -> None:
        """``command`` is split as a shell would, and run without one; ``timeout`` is in seconds.

        Raises:
            BadRequestError: it can't be split, is empty, or names no program.
        """
        try:
            self._words = shlex.split(command)
        except ValueError as fault:
            raise BadRequestError(f"--exec can't be read as a command: {fault}", advice=_EXEC_TAKES) from None
        if not self._words:
            raise BadRequestError("--exec is empty", advice=_EXEC_TAKES)
        if shutil.which(self._words[0]) is None:
            raise BadRequestError(f"--exec: {self._words[0]!r} is no program that can be run", advice=_EXEC_TAKES)
        self._timeout = timeout

    async def __call__(self, delivery: Delivery) -> None:
        """Run the command; an exit code other than 0, or too long a time, is a failure."""
        try:
            process = await asyncio.create_subprocess_exec(
                *self._words,
                stdin=asyncio.subprocess.PIPE,
                env=environment_for(delivery.event),
                start_new_session=True,  # so that Ctrl-C stops the receiver, and the command ends its work
            )
        except (OSError, ValueError) as fault:
            raise ActionFailed(f"{self._words[0]} can't be run: {fault}", counts=False) from None
        try:
            await asyncio.wait_for(process.communicate(delivery.body), self._timeout)
        except asyncio.TimeoutError:
            await _end(process)
            raise ActionFailed(f"{self._words[0]} took longer than {self._timeout:g} s, and was stopped") from None
        except BaseException:
            await _end(process)
            raise
        if process.returncode:
            raise ActionFailed(f"{self._words[0]} ended with the exit code {process.returncode}")

    async def aclose(self) -> None:
        """Nothing to close."""


class ForwardAction:
    """Sends each delivery on: the body and the signature's headers as they came."""

    def __init__(self, url: str, timeout: float) -> None:
        """``timeout`` is in seconds.

        Raises:
            BadRequestError: ``url`` is not an http(s) URL.
        """
        try:
            parts = urlsplit(url)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            usable = False
        if not usable or not url.isascii() or not url.isprintable():
            raise BadRequestError("--forward must be an http(s) URL such as http://127.0.0.1:8000/webhooks")
        self._url = url
        self._timeout = timeout
        self._client: httpx.AsyncClient | None = None

    async def __call__(self, delivery: Delivery) -> None:
        """Post it; anything but a 2xx is a failure. Redirects are not followed."""
        import httpx

        if self._client is None:
            host = urlsplit(self._url).hostname or ""
            local = host in ("localhost", "::1") or host.startswith("127.")
            self._client = httpx.AsyncClient(timeout=self._timeout, trust_env=not local)
        headers = {name: value for name, value in delivery.headers.items() if name.startswith("x-apimaster-")}
        headers["content-type"] = delivery.headers.get("content-type", "application/json")
        try:
            status = await asyncio.wait_for(self._post(self._client, delivery.body, headers), self._timeout)
        except (httpx.HTTPError, asyncio.TimeoutError) as fault:
            raise ActionFailed(f"{self._shown} did not answer: {str(fault) or type(fault).__name__}") from None
        if not 200 <= status < 300:
            raise ActionFailed(f"{self._shown} answered HTTP {status}")

    async def _post(self, client: httpx.AsyncClient, body: bytes, headers: dict[str, str]) -> int:
        async with client.stream("POST", self._url, content=body, headers=headers) as reply:
            return reply.status_code  # its body may be of any size, and says nothing

    @property
    def _shown(self) -> str:
        """The URL for a message, without what may be a password."""
        parts = urlsplit(self._url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    async def aclose(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()


def environment_for(event: WebhookEvent) -> dict[str, str]:
    """The environment of a command: that of the receiver without the secret, and facts of the event."""
    status = event.data.get("status")
    facts = {
        "APIMASTER_EVENT_ID": event.id,
        "APIMASTER_EVENT_TYPE": event.type,
        "APIMASTER_TASK_ID": event.data.get("task_id"),
        "APIMASTER_TASK_STATUS": status,
        "APIMASTER_MODEL": event.data.get("model"),
        "APIMASTER_CLIENT_REFERENCE_ID": event.client_reference_id,
    }
    kept = {name: value for name, value in os.environ.items() if name not in facts and name != SECRET_VARIABLE}
    return kept | {
        name: value
        for name, value in facts.items()
        if isinstance(value, str) and len(value) <= _LONGEST_VALUE and "\0" not in value
    }


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a command with all that it started."""
    _signal(process, "SIGTERM")
    try:
        await asyncio.wait_for(process.wait(), _END_TIME)
    except asyncio.TimeoutError:
        _signal(process, "SIGKILL")
        await process.wait()


def _signal(process: asyncio.subprocess.Process, name: str) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, getattr(signal, name))
