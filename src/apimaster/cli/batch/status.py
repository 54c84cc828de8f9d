"""``batch status`` and ``batch export``: they read only the ledger, also while another process writes it."""

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

from ...batch.bought_at import EMULATOR, place_in
from ...batch.items import STATES
from ...batch.lock import DirectoryLock
from ...batch.manifest import ManifestFormat, amount_text, as_csv, as_jsonl
from ...batch.outputs import GALLERY, write_atomically, write_outputs
from ...batch.place import Place
from ...batch.tally import Tally
from ...batch.thumbnails import make_missing_thumbnails
from ...ledger.backend import LEASE
from ..printing import dollars, print_message
from .display import bar, colour_of, state_counts

if TYPE_CHECKING:
    from rich.console import RenderableType

_REFRESH_SECONDS: Final = 1.0
_MEANINGS: Final = {
    "planned": "not submitted yet",
    "submitting": "on its way to the gateway",
    "submitted": "paid for, being made",
    "delivered": "paid for, being fetched",
    "saved": "on disk",
    "failed": "nothing was charged",
    "unknown": "may be paid for; no picture",
}


def status_document(place: Place) -> dict[str, Any]:
    """The state of a batch as one JSON object."""
    tally, holder, bought_at = _read_state(place)
    return {
        **{str(state): count for state, count in tally.counts.items()},
        "total": tally.total,
        "set_aside": tally.set_aside,
        "spent_usd": amount_text(tally.spent),
        "to_come_usd": amount_text(tally.to_come),
        "unpriced": tally.unpriced,
        "bought_at": bought_at,
        "running_in": holder,
    }


def print_status(place: Place) -> None:
    """Print the state of a batch."""
    Console().print(_status_table(place.directory, *_read_state(place)))


def watch_status(place: Place) -> None:
    """Keep printing the state until every image has ended, the run ends, or Ctrl-C."""
    console = Console()
    with Live(console=console, auto_refresh=False) if console.is_terminal else nullcontext() as live:
        while True:
            tally, holder, bought_at = _read_state(place)
            table = _status_table(place.directory, tally, holder, bought_at)
            if live is not None:
                live.update(table, refresh=True)
            if tally.ended == tally.total or holder is None:
                break
            time.sleep(_REFRESH_SECONDS)
    if live is None:
        console.print(table)


def _read_state(place: Place) -> tuple[Tally, str | None, str | None]:
    """The counts of a batch; the processes that run it, such as ``process 12 on host``, or None if none does; and where
    it is bought."""
    with place.reading() as batch:
        tally, bought_at = Tally(batch.counts(), time.monotonic()), place_in(batch.lines)
        in_use, holder = DirectoryLock(place.directory).in_use()
        if not in_use or holder is not None:
            return tally, holder, bought_at
        names = [f"process {worker.pid} on {worker.host}" for worker in batch.workers(LEASE)]
        return tally, ", ".join(names) or "another process", bought_at


def _status_table(directory: Path, tally: Tally, holder: str | None, bought_at: str | None) -> RenderableType:
    grid = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style="dim")
    grid.add_column("state")
    grid.add_column("images", justify="right")
    grid.add_column("")
    for state in STATES:
        count = tally.counts[state]
        if count:
            grid.add_row(Text(state, style=colour_of(state)), f"{count:,}", Text(_MEANINGS[state], style="dim"))
    grid.add_row("all", f"{tally.total:,}", "")
    parts: list[RenderableType] = [Text(str(directory), style="bold")]
    if any(count for _, count in state_counts(tally)):
        parts.append(bar(tally, 60))
    parts.append(grid)
    money = f"{dollars(tally.spent)} spent or possibly spent"
    if tally.to_come:
        money += f", {dollars(tally.to_come)} to come"
    parts.append(Text(money if bought_at != EMULATOR else "drawn by the emulator: no money was spent"))
    if tally.set_aside:
        parts.append(Text(f"{tally.set_aside:,} of an earlier list are set aside", style="dim"))
    parts.append(Text(f"running now: {holder}" if holder else "not running", style="dim"))
    return Group(*parts)


def export(place: Place, form: ManifestFormat, output: Path | None) -> None:
    """Write the records of a batch to a file, or to stdout."""
    items = place.items()
    pieces = as_csv(items) if form == "csv" else as_jsonl(items)
    if output is None:
        for piece in pieces:
            sys.stdout.write(piece)
    else:
        write_atomically(output, pieces)
        print_message(f"Written: {output}")


def rewrite_gallery(place: Place) -> Path:
    """Write gallery and manifest again, with thumbnails if Pillow is installed. Gives the path of the gallery."""
    make_missing_thumbnails(place.directory, place.items())
    write_outputs(place)
    return place.directory / GALLERY
