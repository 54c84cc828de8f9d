"""How a task that outlives its command is picked up again, and the exception that tells of it at a command's end."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from ..catalog import DEFAULT_MODEL
from ..errors import APIMasterError
from ..results import Task


@dataclass(frozen=True, slots=True)
class Resume:
    """What the command was told, as far as ``apimaster task ID --wait`` needs it again.

    Attributes:
        out: what ``-o`` said.
        base_url: what ``--base-url`` said, if anything.
        total: how many images were asked for.
    """

    out: str
    base_url: str | None = None
    total: int = 1

    def command(self, task: Task, index: int) -> str:
        """The command line for one task, ready to be pasted into a shell."""
        words = ["apimaster", "task", task.id, "--wait", "-o", self._place(index)]
        if task.model != DEFAULT_MODEL:
            words += ["--model", task.model]
        if self.base_url is not None:
            words += ["--base-url", self.base_url]
        return shlex.join(words)

    def commands(self, tasks: Iterable[tuple[int, Task]]) -> list[str]:
        """One command line for each task that still has something to give."""
        return [self.command(task, index) for index, task in tasks if task.id and (task.images or not task.done)]

    def _place(self, index: int) -> str:
        ending = PurePath(self.out).suffix
        if self.total == 1 or not ending or self.out.endswith(("/", os.sep)) or os.path.isdir(self.out):
            return self.out
        # Of several images each got a number in the file's name; a task that is picked up by itself would get none.
        return f"{self.out.removesuffix(ending)}-{index + 1}{ending}"


class Stopped(Exception):
    """A command ended early.

    Attributes:
        error: why; None where somebody pressed Ctrl-C.
        resume: command lines that pick up what is under way.
        unsettled: how many requests were on their way when it was interrupted, so that nobody knows of them.
        saved: the pictures that are on disk already.
        emulated: True where no money can have been spent, and nothing can be picked up.
    """

    def __init__(
        self,
        error: APIMasterError | None,
        resume: Sequence[str] = (),
        *,
        unsettled: int = 0,
        saved: Sequence[str] = (),
        emulated: bool = False,
    ) -> None:
        super().__init__(str(error or "interrupted"))
        self.error = error
        self.resume = tuple(resume)
        self.unsettled = unsettled
        self.saved = tuple(saved)
        self.emulated = emulated
