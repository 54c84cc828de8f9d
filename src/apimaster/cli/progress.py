"""What a person sees while a command waits: one live line on a terminal, plain lines elsewhere.

``Watch`` is fed by the client's ``on_progress`` and knows what is known of every image, which is also what Ctrl-C
has to report. Everything here goes to stderr.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from ..results import Progress, Stage, Task
from .printing import note

if TYPE_CHECKING:
    from rich.console import RenderableType

_WORDS: Final[dict[Stage, str]] = {
    "submitting": "submitting",
    "queued": "queued",
    "running": "running",
    "downloading": "saving",
    "done": "done",
    "failed": "failed",
}


class Watch:
    """The latest word on every image of a command.

    Args:
        total: how many images were asked for.
        money: what the live line says of the cost.
    """

    def __init__(self, total: int, money: str) -> None:
        self.total = total
        self.money = money
        self.latest: dict[int, Progress] = {}
        self._begun = time.monotonic()

    def note(self, progress: Progress) -> None:
        """For ``on_progress``."""
        before = self.latest.get(progress.index)
        self.latest[progress.index] = progress
        if before is None or before.stage != progress.stage:
            self.changed(before, progress)

    def changed(self, before: Progress | None, progress: Progress) -> None:
        """Called once for each new stage of an image."""
        task = f" {progress.task.id}" if progress.task is not None and progress.task.id else ""
        note(f"{self.seconds:5.1f} s  {self._which(progress)}{_WORDS[progress.stage]}{task}")

    @property
    def seconds(self) -> float:
        """Since the command began to wait."""
        return time.monotonic() - self._begun

    @property
    def under_way(self) -> list[tuple[int, Task]]:
        """The tasks that have not ended, each with the number of its image."""
        return [
            (index, progress.task)
            for index, progress in sorted(self.latest.items())
            if progress.task is not None and progress.stage not in ("done", "failed")
        ]

    @property
    def numbers(self) -> dict[str, int]:
        """The number of the image that each known task makes, by the task's id."""
        return {progress.task.id: index for index, progress in self.latest.items() if progress.task is not None}

    @property
    def unsettled(self) -> int:
        """How many requests went out, or were about to, without a task to show for it."""
        return sum(progress.stage == "submitting" for progress in self.latest.values())

    @property
    def saved(self) -> list[str]:
        """The pictures that are on disk already."""
        images = [progress.image for progress in self.latest.values() if progress.stage == "done"]
        return [str(image.path) for image in images if image is not None and image.path is not None]

    def summary(self) -> str:
        """State, seconds, cost: ``running 45 % · 12 s · $0.0375``."""
        return f"{self._state()} · {self.seconds:.0f} s · {self.money}"

    def _state(self) -> str:
        if self.total == 1:
            progress = self.latest.get(0)
            if progress is None:
                return "starting"
            percent = progress.percent if progress.stage == "running" else None
            return _WORDS[progress.stage] + (f" {percent:.0f} %" if percent is not None else "")
        counts = Counter(progress.stage for progress in self.latest.values())
        others = [f"{counts[stage]} {word}" for stage, word in _WORDS.items() if stage != "done" and counts[stage]]
        return ", ".join([f"{counts['done']} of {self.total} done", *others])

    def _which(self, progress: Progress) -> str:
        return f"image {progress.index + 1} of {self.total}: " if self.total > 1 else ""


class _LiveWatch(Watch):
    """On a terminal the stages are in the live line; only a task's id is printed to stay, as it is what resumes."""

    def changed(self, before: Progress | None, progress: Progress) -> None:
        task = progress.task
        if task is not None and task.id and (before is None or before.task is None):
            note(f"{self._which(progress)}submitted {task.id}")


@contextmanager
def watching(total: int, money: str) -> Iterator[Watch]:
    """Show what goes on until the block ends; the live line is gone then."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield Watch(total, money)
        return
    from rich.console import Console
    from rich.live import Live
    from rich.spinner import Spinner
    from rich.text import Text

    watch = _LiveWatch(total, money)
    spinner = Spinner("dots")

    def line() -> RenderableType:
        spinner.update(text=Text(watch.summary(), no_wrap=True, overflow="ellipsis"))
        return spinner

    # Live takes over sys.stderr meanwhile, so that what note() writes appears above the line.
    with Live(get_renderable=line, console=Console(stderr=True), refresh_per_second=8, transient=True):
        yield watch
