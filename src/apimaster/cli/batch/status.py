"""What ``batch status`` and ``batch export`` show: made from the ledger alone, also while another process writes it."""

from __future__ import annotations

import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ...batch.export import ExportFormat, as_csv, jsonl, money
from ...batch.items import NOTHING, STATES
from ...batch.ledger import Ledger
from ...batch.lock import DirectoryLock
from ...batch.outputs import GALLERY, replace, write_outputs
from ...batch.run import items_in
from ...batch.tally import Tally
from ...batch.thumbnails import make_missing
from ..printing import note
from .display import bar, counts_of
from .wording import dollars

if TYPE_CHECKING:
    from rich.console import RenderableType

_EVERY: Final = 1.0
_MEANING: Final = {
    "planned": "not submitted yet",
    "submitting": "on its way to the gateway",
    "submitted": "paid for, being made",
    "delivered": "paid for, being fetched",
    "saved": "on disk",
    "failed": "nothing was charged",
    "unknown": "may be paid for; no picture",
}


def _read(directory: Path) -> Tally:
    ledger = Ledger.look(directory)
    try:
        return Tally(ledger.sums(), time.monotonic())
    finally:
        ledger.close()


def document(directory: Path) -> dict[str, Any]:
    """How a batch stands, as one JSON object."""
    tally = _read(directory)
    return {
        **{str(state): count for state, count in tally.counts.items()},
        "total": tally.total,
        "set_aside": tally.set_aside,
        "spent_usd": money(tally.spent),
        "to_come_usd": money(tally.to_come),
        "unpriced": tally.unpriced,
        "running_in": DirectoryLock(directory).holder(),
    }


def table(directory: Path) -> None:
    """Print how a batch stands."""
    Console().print(picture(directory))


def watch(directory: Path) -> None:
    """Keep printing it until nothing goes on any more, or somebody presses Ctrl-C."""
    console = Console()
    with (
        Live(picture(directory), console=console, auto_refresh=False) if console.is_terminal else nullcontext() as live
    ):
        while True:
            tally, holder = _read(directory), DirectoryLock(directory).holder()
            if live is not None:
                live.update(picture(directory), refresh=True)
            if tally.ended == tally.total or holder is None:
                break
            time.sleep(_EVERY)
    if not console.is_terminal:
        console.print(picture(directory))


def picture(directory: Path) -> RenderableType:
    """The table of ``batch status``."""
    tally = _read(directory)
    grid = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style="dim")
    grid.add_column("state")
    grid.add_column("images", justify="right")
    grid.add_column("")
    colours = {"saved": "green", "failed": "red", "unknown": "yellow", "planned": "bright_black"}
    for state in STATES:
        count = tally.counts[state]
        if count:
            grid.add_row(
                Text(state, style=colours.get(state, "blue")), f"{count:,}", Text(_MEANING[state], style="dim")
            )
    grid.add_row("all", f"{tally.total:,}", "")
    parts: list[RenderableType] = [Text(str(directory), style="bold")]
    if any(count for _, count in counts_of(tally)):
        parts.append(bar(tally, 60))
    parts.append(grid)
    money_line = f"{dollars(tally.spent)} spent or possibly spent"
    if tally.to_come > NOTHING:
        money_line += f", {dollars(tally.to_come)} to come"
    parts.append(Text(money_line))
    if tally.set_aside:
        parts.append(Text(f"{tally.set_aside:,} of an earlier list are set aside", style="dim"))
    holder = DirectoryLock(directory).holder()
    parts.append(Text(f"running now: {holder}" if holder else "not running", style="dim"))
    return Group(*parts)


def export(directory: Path, form: ExportFormat, output: Path | None) -> None:
    """Write the records of a batch to a file, or to stdout."""
    items = items_in(directory)
    pieces = as_csv(items) if form == "csv" else jsonl(items)
    if output is None:
        for piece in pieces:
            sys.stdout.write(piece)
    else:
        replace(output, pieces)
        note(f"Written: {output}")


def refresh(directory: Path) -> Path:
    """Write gallery and manifest anew, with thumbnails where Pillow is installed."""
    make_missing(directory, items_in(directory))
    write_outputs(directory)
    return directory / GALLERY
