"""A folder of version 1, as an earlier version of this package wrote it: brought up to date, once, and run on."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

import forked
import pytest

from apimaster import APIMaster, AsyncAPIMaster
from apimaster.batch import AsyncBatch, Batch, DirectoryLocked, place
from apimaster.batch.migration import OLD
from apimaster.batch.place import place_of, read_items
from apimaster.emulator import Emulator
from apimaster.errors import BadRequestError
from apimaster.ledger import Ledger, migrations
from apimaster.ledger.schema import VERSION
from apimaster.ledger.sqlite_file import version_of

FIXTURE = Path(__file__).parent / "fixtures" / "ledger_version_1.sql"
PRICE = Decimal("0.0375")
STATES = {
    "planned": "planned",
    "submitting": "unknown",  # its process is dead: version 1 allowed one for each folder
    "submitted": "submitted",
    "delivered": "delivered",
    "saved": "saved",
    "failed": "failed",
    "unknown": "unknown",
    "retried": "planned",
    "aside": "planned",
}


def version_1(directory: Path, **replaced: str) -> Path:
    """A folder of version 1."""
    text = FIXTURE.read_text()
    for old, new in replaced.items():
        assert old in text
        text = text.replace(old, new)
    directory.mkdir()
    with sqlite3.connect(directory / "ledger.db", isolation_level=None) as connection:
        connection.executescript(text)
        connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    assert version(directory) == OLD
    return directory


def version(directory: Path) -> int:
    with sqlite3.connect(directory / "ledger.db") as connection:
        found = version_of(connection)
    connection.close()
    return found


def test_every_image_has_a_purchase_and_the_money_is_the_same(tmp_path: Path) -> None:
    folder = version_1(tmp_path / "album")
    before = {item.id: item for item in read_items(folder)}
    assert version(folder) == OLD, "who only reads changes nothing"
    batch, ledger = place_of(folder).open()
    after = {item.id: item for item in batch.items()}
    assert {name: item.state for name, item in after.items()} == STATES
    assert [item.model_dump() for item in after.values()] == [item.model_dump() for item in before.values()]
    saved = after["saved"]
    assert (saved.path, saved.width, saved.tags, saved.deviations) == (
        "images/saved.png",
        512,
        ("spring",),
        ("smaller than asked",),
    )
    assert (saved.attempts, saved.submitted_at, saved.finished_at) == (1, 1790000005.0, 1790000050.0)
    assert (after["failed"].error, after["failed"].error_type) == ("The task failed.", "GenerationFailedError")
    assert after["retried"].sunk == PRICE
    (budget,) = ledger.budgets()
    assert (budget.name, budget.max_usd, budget.max_images) == ("batch/album", Decimal("1.5"), 40)
    assert (budget.usd, budget.images) == (6 * PRICE, 5), (
        "four with a task or a picture, two unknown, one earlier attempt"
    )
    retried = ledger.get("album/retried")
    assert retried is not None
    assert retried.earlier_tasks == ("task_first",)
    delivered = ledger.get("album/delivered")
    assert delivered is not None
    assert [image.url for image in delivered.images] == ["https://cdn.example/delivered.png"]
    assert {image.id for image in batch.planned(None)[0]} == {"planned", "retried"}, "what was set aside stays so"
    batch.close()


def test_opening_it_again_changes_nothing(tmp_path: Path) -> None:
    folder = version_1(tmp_path / "album")
    for _ in range(2):
        batch, ledger = place_of(folder).open()
        rows = list(ledger.purchases())
        assert len(rows) == 9
        batch.close()
    with Ledger.open(folder / "ledger.db") as ledger:
        assert list(ledger.purchases()) == rows


OPEN = """
import sys
from pathlib import Path
from apimaster.batch.place import place_of
print("ready", flush=True)
sys.stdin.readline()
batch, ledger = place_of(Path(sys.argv[1])).open()
print(len(list(ledger.purchases())), flush=True)
batch.close()
"""


def test_processes_that_open_it_at_the_same_moment(tmp_path: Path) -> None:
    folder = version_1(tmp_path / "album")
    words = ["-c", OPEN, str(folder)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    children = [forked.start(words, **pipes) for _ in range(4)]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("\n")
    with ThreadPoolExecutor(4) as pool:
        printed = list(pool.map(lambda child: child.communicate(60), children))
    assert [text for text, _ in printed] == ["9\n"] * 4, printed
    (budget,) = place_of(folder).open()[1].budgets()
    assert budget.usd == 6 * PRICE


KILLED = """
import os, signal, sys
from pathlib import Path
from apimaster.batch.place import place_of
from apimaster.ledger.sqlite import SQLiteBackend

whole = SQLiteBackend.insert

def insert(self, rows):
    whole(self, rows)
    os.kill(os.getpid(), signal.SIGKILL)

SQLiteBackend.insert = insert
place_of(Path(sys.argv[1])).open()
"""


def test_a_kill_in_the_middle_leaves_version_1(tmp_path: Path) -> None:
    folder = version_1(tmp_path / "album")
    with forked.start(["-c", KILLED, str(folder)]) as child:
        assert child.wait() == -9
    assert version(folder) == OLD
    assert Counter(item.state for item in read_items(folder)) == Counter(STATES.values())
    batch, _ = place_of(folder).open()
    assert Counter(item.state for item in batch.items()) == Counter(STATES.values())
    batch.close()


@pytest.mark.apimaster_emulator(pictures="small")
def test_the_next_run_collects_what_is_paid_for_and_buys_only_what_is_left(
    apimaster_emulator: Emulator, tmp_path: Path
) -> None:
    settings = {"base_url": apimaster_emulator.base_url}
    with APIMaster(apimaster_emulator.api_key, **settings) as client:
        tasks = {
            name: client.submit(f"a {name} picture", resolution="0.5K").id
            for name in ("submitted", "delivered", "saved")
        }
    folder = version_1(
        tmp_path / "album",
        **{f'"task_{name}"': f'"{task}"' for name, task in tasks.items()},
        **{"http://gateway.example/v1": apimaster_emulator.base_url},
    )
    assert len(apimaster_emulator.bill.charges) == 3

    async def run() -> list[str]:
        async with AsyncAPIMaster(apimaster_emulator.api_key, **settings) as client:
            return [item.id async for item in AsyncBatch(client, folder, timeout=30).run() if item.state == "saved"]

    found = asyncio.run(run())
    assert sorted(found) == ["delivered", "planned", "retried", "saved", "submitted"]
    assert len(apimaster_emulator.bill.charges) == 5, "the two that were planned"
    assert Counter(item.state for item in read_items(folder)) == {"saved": 5, "failed": 1, "unknown": 2, "planned": 1}
    assert (folder / "images" / "submitted.png").exists()
    assert asyncio.run(run()) != []
    assert len(apimaster_emulator.bill.charges) == 5


@pytest.mark.apimaster_emulator(pictures="small")
def test_what_it_lost_is_found_in_the_log_and_never_called_free(apimaster_emulator: Emulator, tmp_path: Path) -> None:
    """Nobody wrote down whose key bought it. So a charge that fits counts, and the absence of one does not."""
    settings = {"base_url": apimaster_emulator.base_url}
    now = f"{time.time()}"
    with APIMaster(apimaster_emulator.api_key, **settings) as client:
        saved, lost = (client.submit("a submitting picture", resolution="0.5K").id for _ in range(2))
    folder = version_1(
        tmp_path / "album",
        **{'"task_saved"': f'"{saved}"', "a saved picture": "a submitting picture"},
        **{"1790000010.0": now, "1790000007.0,1790000070.0": f"{now},{now}", "1790000005.0": now},
    )
    place_of(folder).open()[0].close()
    with (
        Ledger.open(folder / "ledger.db", settle_after=0) as ledger,
        APIMaster(apimaster_emulator.api_key, **settings, ledger=ledger) as client,
    ):
        client.generate("a picture of this version", resolution="0.5K")  # the log is alive, and holds it
        for found in (client.settle(), client.settle("album/submitting", "album/unknown")):
            assert not found.not_charged
            ((unknown,), error) = found.still_unknown, found.still_unknown[0].error
            assert unknown.key == "album/unknown"
            assert error is not None
            assert "an older version bought it" in error.message
            settled = ledger.get("album/submitting")
            assert settled is not None
            assert (settled.state, settled.task and settled.task.id) == ("delivered", lost), "not the one of the other"
    assert len(apimaster_emulator.bill.charges) == 3


EARLIER_VERSION = """
import fcntl, os, sys
descriptor = os.open(sys.argv[1] + "/.lock", os.O_RDWR | os.O_CREAT)
fcntl.flock(descriptor, fcntl.LOCK_EX)
os.write(descriptor, b"process 12 on here\\n")
print("locked", flush=True)
sys.stdin.read()
"""


def test_a_folder_that_an_earlier_version_is_running_is_left_alone(tmp_path: Path) -> None:
    folder = version_1(tmp_path / "album")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with forked.start(["-c", EARLIER_VERSION, str(folder)], **pipes) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        with APIMaster("sk", base_url="http://gateway.example/v1") as client:
            begun = time.monotonic()
            with pytest.raises(DirectoryLocked, match="process 12 on here"):
                Batch(client, folder).run().finish()
            assert time.monotonic() - begun < 30
        other.kill()
    assert version(folder) == OLD


def test_a_plan_of_it_writes_nothing(tmp_path: Path) -> None:
    folder = version_1(tmp_path / "album")
    with APIMaster("sk", base_url="http://gateway.example/v1") as client:
        plan = Batch(client, folder).run().plan()
        assert (plan.planned, plan.under_way, plan.saved, plan.unknown, plan.set_aside) == (2, 2, 1, 2, 1)
        assert (plan.spent, plan.terms.max_cost) == (6 * PRICE, Decimal("1.5"))
    assert version(folder) == OLD
    with pytest.raises(BadRequestError, match="batch"):
        Ledger.open(folder / "ledger.db")


def test_a_folder_of_the_version_before_is_read_from_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for each in place_of(tmp_path).open():
        each.close()
    index = "CREATE INDEX another ON purchase (price)"
    monkeypatch.setattr(migrations, "MIGRATIONS", {VERSION: migrations.Migration(sqlite=(index,), postgres=())})
    for module in (migrations, place):
        monkeypatch.setattr(module, "VERSION", VERSION + 1)
    with place_of(tmp_path).reading() as batch:
        assert list(batch.items()) == []
    assert version(tmp_path) == VERSION, "who reads changes no file"
    for each in place_of(tmp_path).open():
        each.close()
    assert version(tmp_path) == VERSION + 1
