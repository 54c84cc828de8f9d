"""What a person sees while a command waits: one live line on a terminal, plain lines elsewhere.

The client's ``on_progress`` feeds ``ProgressView``, which keeps the latest state of every image. After Ctrl-C the
command reports from it. Everything goes to stderr.
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
from .printing import print_message

if TYPE_CHECKING:
    from rich.console import RenderableType

_STAGE_NAMES: Final[dict[Stage, str]] = {
    "submitting": "submitting",
    "queued": "queued",
    "running": "running",
    "downloading": "saving",
    "done": "done",
    "failed": "failed",
}


class ProgressView:
    """The latest state of every image of a command.

    Args:
        total: how many images the command asked for.
        cost: what the live line says about the cost.
    """

    def __init__(self, total: int, cost: str) -> None:
        self.total = total
        self.cost = cost
        self.latest: dict[int, Progress] = {}
        self._begun = time.monotonic()

    def update(self, progress: Progress) -> None:
        """Note what happened to an image; this is the client's ``on_progress``."""
        before = self.latest.get(progress.index)
        self.latest[progress.index] = progress
        if before is None or before.stage != progress.stage:
            self.show_stage(before, progress)

    def show_stage(self, before: Progress | None, progress: Progress) -> None:
        """Print a new stage of an image."""
        task = f" {progress.task.id}" if progress.task is not None and progress.task.id else ""
        print_message(f"{self.seconds:5.1f} s  {self._image_label(progress)}{_STAGE_NAMES[progress.stage]}{task}")

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
    def image_numbers(self) -> dict[str, int]:
        """The number of the image that each known task makes, by the task's id."""
        return {progress.task.id: index for index, progress in self.latest.items() if progress.task is not None}

    @property
    def unconfirmed(self) -> int:
        """How many requests went out, or were about to, and have no task yet."""
        return sum(progress.stage == "submitting" for progress in self.latest.values())

    @property
    def saved(self) -> list[str]:
        """The pictures that are on disk already."""
        images = [progress.image for progress in self.latest.values() if progress.stage == "done"]
        return [str(image.path) for image in images if image is not None and image.path is not None]

    def summary(self) -> str:
        """State, seconds, cost: ``running 45 % · 12 s · $0.0375``."""
        return f"{self._state()} · {self.seconds:.0f} s · {self.cost}"

    def _state(self) -> str:
        if self.total == 1:
            progress = self.latest.get(0)
            if progress is None:
                return "starting"
            percent = progress.percent if progress.stage == "running" else None
            return _STAGE_NAMES[progress.stage] + (f" {percent:.0f} %" if percent is not None else "")
        counts = Counter(progress.stage for progress in self.latest.values())
        others = [
            f"{counts[stage]} {name}" for stage, name in _STAGE_NAMES.items() if stage != "done" and counts[stage]
        ]
        return ", ".join([f"{counts['done']} of {self.total} done", *others])

    def _image_label(self, progress: Progress) -> str:
        return f"image {progress.index + 1} of {self.total}: " if self.total > 1 else ""


class _LiveProgressView(ProgressView):
    """On a terminal the live line shows the stages; only a task's id stays on the screen, as it resumes the task."""

    def show_stage(self, before: Progress | None, progress: Progress) -> None:
        task = progress.task
        if task is not None and task.id and (before is None or before.task is None):
            print_message(f"{self._image_label(progress)}submitted {task.id}")


@contextmanager
def show_progress(total: int, cost: str) -> Iterator[ProgressView]:
    """Show progress until the block ends; then the live line disappears."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield ProgressView(total, cost)
        return
    from rich.console import Console
    from rich.live import Live
    from rich.spinner import Spinner
    from rich.text import Text

    view = _LiveProgressView(total, cost)
    spinner = Spinner("dots")

    def line() -> RenderableType:
        spinner.update(text=Text(view.summary(), no_wrap=True, overflow="ellipsis"))
        return spinner

    # Live replaces sys.stderr meanwhile, so that print_message writes above the line.
    with Live(get_renderable=line, console=Console(stderr=True), refresh_per_second=8, transient=True):
        yield view
