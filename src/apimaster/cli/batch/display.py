"""What a person watches while a batch runs: a live panel on a terminal, a plain line now and then elsewhere.

``panel`` and ``plain_line`` are pure and need no terminal; ``LiveDisplay`` and ``PlainDisplay`` decide when to print
them. Everything goes to stderr.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

from ...batch.items import BatchItem, State
from ...batch.tally import Tally
from ..printing import dollars
from .wording import duration

if TYPE_CHECKING:
    from decimal import Decimal

    from rich.console import Console, RenderableType
    from rich.text import Text

    from ...batch.throttle import Throttle

_COLOURS: Final = {
    "saved": "green",
    "running": "blue",
    "failed": "red",
    "unknown": "yellow",
    "planned": "bright_black",
}
_SIGNS: Final = {"saved": "✓", "failed": "✗", "unknown": "?", "submitted": "…", "delivered": "…"}
_RECENT: Final = 6
_PLAIN_SECONDS: Final = 10.0
_REFRESH_SECONDS: Final = 0.25
_STOPPING: Final = "Stopping: the batch submits nothing more. Ctrl-C again ends it now."


class RunStatus(Protocol):
    """What a display needs of a run."""

    @property
    def tally(self) -> Tally: ...
    @property
    def throttle(self) -> Throttle: ...
    @property
    def halted(self) -> bool: ...
    @property
    def limit(self) -> Decimal | None: ...


class Display(Protocol):
    """Shows a run until it is cancelled."""

    def ended(self, item: BatchItem) -> None:
        """Show an image that ended."""

    def stopping(self) -> None:
        """Show that the run is stopping."""

    async def show(self, run: RunStatus) -> None:
        """Keep showing the state of ``run``."""


def state_counts(tally: Tally) -> list[tuple[str, int]]:
    """The five counts that people look for; ``running`` sums up three states."""
    counts = tally.counts
    return [
        ("saved", counts["saved"]),
        ("running", tally.running),
        ("failed", counts["failed"]),
        ("unknown", counts["unknown"]),
        ("planned", counts["planned"]),
    ]


def colour_of(state: State) -> str:
    """The colour of an image in this state; the states that ``running`` sums up share one."""
    return _COLOURS.get(state, _COLOURS["running"])


def bar(tally: Tally, width: int) -> Text:
    """A bar of ``width`` cells, a colour for each count; each count above 0 gets at least one cell."""
    from rich.text import Text

    counts = [(name, count) for name, count in state_counts(tally) if count]
    cells = {name: max(1, round(count * width / tally.total)) for name, count in counts}
    while cells and sum(cells.values()) != width:
        widest = max(cells, key=lambda name: cells[name])
        cells[widest] += 1 if sum(cells.values()) < width else -1
    line = Text()
    for name, count in cells.items():
        line.append(("━" if name != "planned" else "─") * count, style=_COLOURS[name])
    return line


def panel(run: RunStatus, recent: list[BatchItem], now: float, title: str) -> RenderableType:
    """The whole panel."""
    from rich.console import Group
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    tally = run.tally
    grid = Table.grid()
    for _ in range(5):
        grid.add_column(width=11)
    grid.add_row(*(Text(name, style="dim") for name, _ in state_counts(tally)))
    grid.add_row(
        *(Text(f"{count:,}", style=f"bold {_COLOURS[name]}" if count else "dim") for name, count in state_counts(tally))
    )
    rows: list[RenderableType] = [_Bar(tally), Text(), grid, Text(), *_figure_lines(run, now)]
    if recent:
        rows.append(Text())
        rows += [_recent_line(item) for item in recent]
    percent = 100 * tally.ended // max(1, tally.total)
    return Panel(
        Group(*rows),
        title=Text(title, style="bold"),
        title_align="left",
        subtitle=Text(f"{tally.ended:,} of {tally.total:,} · {percent} %"),
        subtitle_align="right",
        padding=(1, 2),
        border_style="bright_black",
    )


def _figure_lines(run: RunStatus, now: float) -> list[Text]:
    from rich.text import Text

    tally = run.tally
    money = Text.assemble((dollars(tally.spent), "bold"), (" spent", "dim"))
    if tally.to_come:
        money.append_text(Text.assemble(("  ·  ", "dim"), (dollars(tally.to_come), "bold"), (" to come", "dim")))
    if run.limit is not None:
        money.append(f"  ·  limit {dollars(run.limit)}", style="dim")
    speed = tally.per_minute(now)
    left = tally.seconds_left(now)
    parts = [f"{speed:,.0f} images/min" if speed >= 10 else f"{speed:.1f} images/min"]
    parts += [f"{duration(left)} left"] if left is not None else []
    parts.append(f"{duration(now - tally.begun)} so far")
    lines = [money, Text("  ·  ".join(parts))]
    note = slow_reason(run, now)
    if note:
        lines.append(Text(note, style="yellow"))
    return lines


def slow_reason(run: RunStatus, now: float) -> str:
    """Why the run is slow or stops; empty if it does neither."""
    if run.halted:
        return _STOPPING
    pause = run.throttle.pause(now)
    if pause > 0:
        reason = "asked for a pause" if run.throttle.rate_limited else "can't be reached"
        return f"The gateway {reason}: next submit in {max(1.0, pause):.0f} s."
    if run.throttle.ceiling < run.throttle.concurrency:
        return f"The gateway accepts fewer at once: {run.throttle.ceiling} instead of {run.throttle.concurrency}."
    return ""


def _recent_line(item: BatchItem) -> Text:
    from rich.text import Text

    line = Text(no_wrap=True, overflow="ellipsis")
    line.append(f"{_SIGNS.get(item.state, '·')} ", style=colour_of(item.state))
    line.append(item.id)
    if item.state == "saved":
        seconds = (item.finished_at or 0.0) - (item.submitted_at or 0.0)
        line.append(f"  {item.width}×{item.height}  {duration(max(0.0, seconds))}", style="dim")
    elif item.error:
        line.append(f"  {item.error}", style="dim")
    return line


class _Bar:
    """The bar at the current width of the terminal."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def __rich_console__(self, console: Console, options: object) -> list[Text]:
        return [bar(self._tally, max(10, getattr(options, "max_width", 60)))]


class LiveDisplay:
    """A panel on a terminal, drawn again four times a second."""

    def __init__(self, console: Console, title: str) -> None:
        self._console = console
        self._title = title
        self._recent: deque[BatchItem] = deque(maxlen=_RECENT)

    def ended(self, item: BatchItem) -> None:
        """Add the image to the list at the bottom."""
        self._recent.append(item)

    def stopping(self) -> None:
        """Nothing to do: the panel shows it at the next refresh."""

    async def show(self, run: RunStatus) -> None:
        """Draw until cancelled; the last panel stays on the screen."""
        from rich.live import Live

        with Live(console=self._console, auto_refresh=False) as live:
            try:
                while True:
                    live.update(self._panel(run), refresh=True)
                    await asyncio.sleep(_REFRESH_SECONDS)
            finally:
                live.update(self._panel(run), refresh=True)

    def _panel(self, run: RunStatus) -> RenderableType:
        return panel(run, list(self._recent), time.monotonic(), self._title)


class PlainDisplay:
    """Plain lines where there is no terminal: one for each image that is not saved, and now and then one for all."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def ended(self, item: BatchItem) -> None:
        """Print what went wrong."""
        if item.state != "saved":
            self._print(f"{item.state}: {item.id} (line {item.line}): {item.error}")

    def stopping(self) -> None:
        """Print it at once, because the answers to open submits may take a while."""
        self._print(_STOPPING)

    async def show(self, run: RunStatus) -> None:
        """Print the state of the run every ten seconds and at the end."""
        try:
            while True:
                await asyncio.sleep(_PLAIN_SECONDS)
                self._print(plain_line(run, time.monotonic()))
        finally:
            self._print(plain_line(run, time.monotonic()))

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def plain_line(run: RunStatus, now: float) -> str:
    """The state of a run in one line."""
    tally = run.tally
    parts = [f"{count:,} {name}" for name, count in state_counts(tally) if count]
    parts.append(f"{dollars(tally.spent)} spent")
    parts += [f"{dollars(tally.to_come)} to come"] if tally.to_come else []
    parts.append(f"{tally.per_minute(now):.1f} images/min")
    left = tally.seconds_left(now)
    parts += [f"{duration(left)} left"] if left is not None else []
    note = slow_reason(run, now)
    return ", ".join(parts) + (f". {note}" if note else ".")
