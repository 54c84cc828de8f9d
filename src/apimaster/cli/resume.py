"""How to pick up a task that outlives its command, and the exception that ends a command early."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from urllib.parse import urlsplit

from ..catalog import DEFAULT_MODEL
from ..errors import APIMasterError
from ..results import Task


def shell_line(words: Iterable[str]) -> str:
    """A command line, ready to paste into a shell, also where a name holds what a terminal can't show."""
    return " ".join(map(_quoted, words))


def _quoted(word: str) -> str:
    if word.isprintable():  # half characters, which stand for bytes that are no text, are not
        return shlex.quote(word)
    letters = (chr(byte) if 32 <= byte < 127 and byte not in b"'\\" else f"\\x{byte:02x}" for byte in os.fsencode(word))
    return f"$'{''.join(letters)}'"


@dataclass(frozen=True, slots=True)
class ResumeCommand:
    """Writes ``apimaster task ID --wait …`` lines with the options that the first command got.

    Attributes:
        out: the value of ``-o``.
        base_url: the value of ``--base-url``, if it was given.
        total: how many images the command asked for.
        ledger: the value of ``--ledger``, if it was given; a URL with a password is left out of the line.
    """

    out: str
    base_url: str | None = None
    total: int = 1
    ledger: str | None = None

    def for_task(self, task: Task, index: int) -> str:
        """The command line for one task, ready to paste into a shell."""
        words = ["apimaster", "task", task.id, "--wait", "-o", self._out_for(index)]
        if task.model != DEFAULT_MODEL:
            words += ["--model", task.model]
        if self.base_url is not None:
            words += ["--base-url", self.base_url]
        if self.ledger is not None and ":" not in urlsplit(self.ledger).netloc.rpartition("@")[0]:
            words += ["--ledger", self.ledger]
        return shell_line(words)

    def for_tasks(self, tasks: Iterable[tuple[int, Task]]) -> list[str]:
        """A command line for each task, by the number of its image, that still has something to give."""
        return [self.for_task(task, index) for index, task in tasks if task.id and (task.images or not task.done)]

    def _out_for(self, index: int) -> str:
        ending = PurePath(self.out).suffix
        if self.total == 1 or not ending or self.out.endswith(("/", os.sep)) or os.path.isdir(self.out):
            return self.out
        # Of several images, each got a number in its file name; a task that is picked up alone would get none.
        return f"{self.out.removesuffix(ending)}-{index + 1}{ending}"


class CommandStopped(Exception):
    """A command ended early.

    Attributes:
        error: why; None after Ctrl-C.
        resume: command lines that pick up what is under way.
        advice: what to do next, if the command knows better than the error; None otherwise.
        unconfirmed: how many requests were on their way at the interrupt, with no answer yet.
        saved: the pictures that are on disk already.
        emulated: True for the emulator, where nothing costs money and nothing can be picked up.
        local: True if the error is about something on this machine only, such as a file that is no transcript.
    """

    def __init__(
        self,
        error: APIMasterError | None,
        resume: Sequence[str] = (),
        *,
        advice: str | None = None,
        unconfirmed: int = 0,
        saved: Sequence[str] = (),
        emulated: bool = False,
        local: bool = False,
    ) -> None:
        super().__init__(str(error or "interrupted"))
        self.error = error
        self.resume = tuple(resume)
        self.advice = advice
        self.unconfirmed = unconfirmed
        self.saved = tuple(saved)
        self.emulated = emulated
        self.local = local
