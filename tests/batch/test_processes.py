"""Several processes run one batch: they divide its images, whatever becomes of one of them, and keep its limits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import forked
import pytest
from PIL import Image
from postgres import PostgresServer

from apimaster.batch.place import read_items
from apimaster.emulator import Emulator
from apimaster.ledger import Ledger

pytestmark = pytest.mark.slow

PRICE = Decimal("0.0375")
PROMPTS = [f"picture {number}" for number in range(40)]

# With a short lease where a process is killed, so that nobody waits a minute for it. Elsewhere a busy machine could let
# a living process miss it.
BATCH = """
import asyncio, json, sys
from pathlib import Path
from apimaster import AsyncAPIMaster
from apimaster.batch import AsyncBatch
from apimaster.errors import BudgetExceededError
from apimaster.ledger import Ledger

folder, settings = Path(sys.argv[1]), json.loads(sys.argv[2])

async def main():
    folder.mkdir(exist_ok=True)
    requests = [{"prompt": prompt, "resolution": "0.5K"} for prompt in settings["prompts"]]
    place = settings["ledger"] or folder / "ledger.db"
    with Ledger.open(place, heartbeat=0.2, lease=settings["lease"]) as ledger:
        async with AsyncAPIMaster() as client:
            batch = AsyncBatch(client, folder, concurrency=8, timeout=60, ledger=ledger)
            run = batch.run(requests, max_cost=settings["max_cost"])
            print("ready", flush=True)
            sys.stdin.readline()
            items = []
            try:
                items = [item async for item in run]
            except BudgetExceededError:
                print("limit", flush=True)
            counts = run.tally.counts
            print(json.dumps([sorted(item.id for item in items), counts, str(run.tally.spent)]), flush=True)

asyncio.run(main())
"""


def start(
    gateway: Emulator, folder: Path, max_cost: str | None = None, ledger: str | None = None, lease: float = 1.5
) -> forked.Child:
    settings = json.dumps({"prompts": PROMPTS, "max_cost": max_cost, "ledger": ledger, "lease": lease})
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    child = forked.start(["-c", BATCH, str(folder), settings], env={**os.environ, **gateway.env}, **pipes)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n", child.communicate()[1]
    return child


def let_go(children: list[forked.Child]) -> None:
    for child in children:
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()


def ends(children: list[forked.Child]) -> list[list[str]]:
    """What each printed; all must have ended well."""
    with ThreadPoolExecutor(len(children)) as pool:
        printed = list(pool.map(lambda child: child.communicate(100), children))
    assert [child.returncode for child in children] == [0] * len(children), [errors for _, errors in printed]
    return [text.splitlines() for text, _ in printed]


def until(condition: Any) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def pictures(folder: Path) -> int:
    """How many whole pictures the folder has."""
    paths = list((folder / "images").iterdir())
    for path in paths:
        with Image.open(path) as picture:
            picture.load()
    return len(paths)


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


@pytest.fixture(params=["its own", "sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    """The folder's own ledger, or one that several batches share."""
    if request.param == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres")
        return server.new_database()
    return None if request.param == "its own" else str(tmp_path / "shared.db")


@pytest.mark.apimaster_emulator(pictures="small", latency="0.05-0.3", dialect="mixed")
def test_two_processes_divide_a_batch(apimaster_emulator: Emulator, tmp_path: Path, place: str | None) -> None:
    folder = tmp_path / "album"
    children = [start(apimaster_emulator, folder, ledger=place, lease=60) for _ in range(2)]
    let_go(children)
    ended = [json.loads(lines[-1]) for lines in ends(children)]
    assert len(apimaster_emulator.bill.charges) == 40
    assert pictures(folder) == 40
    names = sorted(item.id for item in read_items(folder)) if place is None else ended[0][0]
    for items, counts, spent in ended:
        assert items == names, "each process has all images in the end, whoever made them"
        assert (counts["saved"], sum(counts.values()), Decimal(spent)) == (40, 40, 40 * PRICE)
    assert len((folder / "manifest.jsonl").read_text().splitlines()) == 40
    if place is not None:
        with Ledger.open(place) as ledger:
            assert {row.key.partition("/")[0] for row in ledger.purchases()} == {"album"}
            assert {row.state for row in ledger.purchases()} == {"saved"}


@pytest.mark.apimaster_emulator(pictures="small", latency="0.2-0.6")
@pytest.mark.parametrize("kills", [1, 8, 20])
def test_one_is_killed_and_the_other_finishes(
    apimaster_emulator: Emulator, tmp_path: Path, place: str | None, kills: int
) -> None:
    folder = tmp_path / "album"
    killed, other = [start(apimaster_emulator, folder, ledger=place) for _ in range(2)]
    let_go([killed, other])
    until(lambda: len(apimaster_emulator.bill.charges) >= kills)
    killed.send_signal(signal.SIGKILL)
    (lines,) = ends([other])
    killed.wait()
    _, counts, _ = json.loads(lines[-1])
    assert counts["saved"] + counts["unknown"] == 40
    made = pictures(folder)
    assert counts["saved"] == made
    assert len(apimaster_emulator.bill.charges) <= made + counts["unknown"]
    assert counts["unknown"] <= 2, "as many as the killed one had open at once"


@pytest.mark.apimaster_emulator(
    pictures="small", latency="0.05-0.2", faults="task_failed=0.2,unavailable_503=0.05", seed=3
)
def test_two_processes_never_overspend_together(
    apimaster_emulator: Emulator, tmp_path: Path, place: str | None
) -> None:
    folder = tmp_path / "album"
    for limit in ("0.30", "0.50"):
        children = [start(apimaster_emulator, folder, limit, place) for _ in range(2)]
        let_go(children)
        assert [lines[0] for lines in ends(children)] == ["limit", "limit"]
    running, highest = Decimal(0), Decimal(0)
    for entry in apimaster_emulator.bill.entries:
        running += entry.amount if entry.kind == "charge" else -entry.amount
        highest = max(highest, running)
    assert highest <= Decimal("0.50")
    assert highest > Decimal("0.50") - PRICE
    with Ledger.open(place or folder / "ledger.db") as ledger:
        (budget,) = ledger.budgets()
        assert (budget.name, budget.usd) == ("batch/album", running)
        assert next(ledger.purchases(state="planned"), None) is not None


@pytest.mark.apimaster_emulator(pictures="small", latency="0.3")
def test_what_one_has_begun_when_it_is_stopped_the_other_one_finishes(
    apimaster_emulator: Emulator, tmp_path: Path
) -> None:
    path = tmp_path / "list.txt"
    path.write_text("\n".join(PROMPTS))
    folder = tmp_path / "album"
    command = ["-m", "apimaster.cli", "batch", "run", str(path), "-o", str(folder), "--yes", "--concurrency", "8"]
    environment = {**os.environ, **apimaster_emulator.env}
    children = [forked.start(command, stderr=subprocess.PIPE, env=environment) for _ in range(2)]
    until(lambda: len(apimaster_emulator.bill.charges) >= 12)
    children[0].send_signal(signal.SIGINT)
    stopped = children[0].communicate(60)[1]
    finished = children[1].communicate(60)[1]
    assert [child.returncode for child in children] == [130, 0], (stopped, finished)
    assert "40 saved; spent $1.50." in finished
    assert len(apimaster_emulator.bill.charges) == 40
    assert pictures(folder) == 40
