"""A process is taken for dead at a moment when an image is paid for, and another one takes over.

Then the first one goes on, or it is killed. The picture is on disk, or the ledger says that nobody knows; nobody buys
it again. The process stops itself with SIGSTOP, so all its threads stand still, as on a suspended machine.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import forked
import pytest
from PIL import Image

from apimaster import AsyncAPIMaster
from apimaster._storage.sinks import PendingFile
from apimaster.batch import AsyncBatch
from apimaster.batch.image_job import ImageJob
from apimaster.batch.place import read_items
from apimaster.emulator import Emulator
from apimaster.errors import LedgerError

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="there is no such signal there")

LEASE = 0.4
BATCH = """
import asyncio, os, signal, sys
from pathlib import Path
from apimaster import AsyncAPIMaster
from apimaster._flows import collect, generation
from apimaster._flows.purchase import LedgerRecord
from apimaster._storage.sinks import PendingFile
from apimaster.batch import AsyncBatch
from apimaster.batch.image_job import ImageJob
from apimaster.ledger import Ledger

folder, moments, lease = Path(sys.argv[1]), sys.argv[2].split(","), float(sys.argv[3])

def stop(moment):
    if moment in moments:
        print("stopped", flush=True)
        os.kill(os.getpid(), signal.SIGSTOP)
        sys.stdin.readline()  # this thread may run on for a moment, before all of them stand still

buy, record_unknown = ImageJob._buy, ImageJob.record_unknown
submitted, deliver, commit = LedgerRecord.submitted, generation.deliver, PendingFile.commit

async def buy_late(self, *args):
    stop("begins")
    return await buy(self, *args)

def submitted_late(self, *args, **options):
    stop("accepted")
    return (yield from submitted(self, *args, **options))

def deliver_late(*args):
    stop("answered")
    return (yield from deliver(*args))

def commit_late(self):
    stop("saving")
    saved = commit(self)
    stop("saved")
    return saved

async def record_unknown_late(self, *args):
    stop("gives up")
    await record_unknown(self, *args)

ImageJob._buy, ImageJob.record_unknown = buy_late, record_unknown_late
LedgerRecord.submitted, PendingFile.commit = submitted_late, commit_late
generation.deliver = collect.deliver = deliver_late

async def main():
    folder.mkdir(exist_ok=True)
    requests = [{"prompt": "a castle", "id": "castle", "resolution": "0.5K"}]
    with Ledger.open(folder / "ledger.db", heartbeat=lease / 5, lease=lease) as ledger:
        async with AsyncAPIMaster() as client:
            run = AsyncBatch(client, folder, timeout=60, ledger=ledger).run(requests)
            await run.finish()
            print({state: count for state, count in run.tally.counts.items() if count}, flush=True)

asyncio.run(main())
"""


def start(gateway: Emulator, folder: Path, moments: str = "") -> forked.Child:
    """A process that stops itself at each of these moments; it has come to the first of them."""
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    child = forked.start(["-c", BATCH, str(folder), moments, str(LEASE)], env={**os.environ, **gateway.env}, **pipes)
    if moments:
        comes_to_a_stop(child)
    return child


def comes_to_a_stop(child: forked.Child) -> None:
    assert child.stdout is not None
    assert child.stdout.readline() == "stopped\n", child.communicate()[1]


def go_on(child: forked.Child) -> None:
    child.send_signal(signal.SIGCONT)
    assert child.stdin is not None
    child.stdin.write("\n")
    child.stdin.flush()


def ends_well(child: forked.Child) -> str:
    printed, errors = child.communicate(60)
    assert child.returncode == 0, errors
    return str(printed).strip()


def found(folder: Path) -> tuple[str, int]:
    """The state of the image, and how many whole pictures there are."""
    (item,) = read_items(folder)
    paths = list((folder / "images").glob("castle*"))
    for path in paths:
        with Image.open(path) as picture:
            picture.load()
    if item.state == "saved":
        assert (folder / str(item.path)).exists()
        assert item.width == 64
    return item.state, len(paths)


# dialect, the moment, what the other process finds, what there is if the first one goes on, and if it is killed
MOMENTS = [
    ("tracked", "answered", "saved", ("saved", 1), ("saved", 1)),
    ("tracked", "saving", "saved", ("saved", 1), ("saved", 1)),
    ("tracked", "saved", "saved", ("saved", 1), ("saved", 1)),
    ("submit_as_image", "answered", "unknown", ("saved", 1), ("unknown", 0)),
    ("submit_as_image", "saving", "saved", ("saved", 1), ("saved", 1)),
    ("submit_as_image", "saved", "saved", ("saved", 1), ("saved", 1)),
    ("submit_as_image+b64", "answered", "unknown", ("saved", 1), ("unknown", 0)),
    ("submit_as_image+b64", "saving", "unknown", ("saved", 1), ("unknown", 0)),
    ("submit_as_image+b64", "saved", "saved", ("saved", 1), ("saved", 1)),
    ("no_async", "saving", "saved", ("saved", 1), ("saved", 1)),
    ("no_async+b64", "saving", "unknown", ("saved", 1), ("unknown", 0)),
    ("no_async+b64", "saved", "saved", ("saved", 1), ("saved", 1)),
]


@pytest.mark.slow
@pytest.mark.parametrize(("dialect", "moment", "other", "continued", "killed"), MOMENTS)
@pytest.mark.parametrize("is_killed", [False, True])
def test_a_process_that_is_taken_for_dead(
    dialect: str,
    moment: str,
    other: str,
    continued: tuple[str, int],
    killed: tuple[str, int],
    is_killed: bool,
    tmp_path: Path,
) -> None:
    folder = tmp_path / "album"
    with Emulator(pictures="small", dialect=dialect) as gateway:
        first = start(gateway, folder, moment)
        assert ends_well(start(gateway, folder)) == str({other: 1})
        if is_killed:
            first.send_signal(signal.SIGKILL)
            first.communicate()
        else:
            go_on(first)
            ends_well(first)
        assert found(folder) == (killed if is_killed else continued)
        ends_well(start(gateway, folder))  # and nobody buys it again
        assert len(gateway.bill.charges) == 1
        assert found(folder) == (killed if is_killed else continued)


@pytest.mark.apimaster_emulator(pictures="small", dialect="submit_as_image+b64")
def test_what_comes_back_while_it_is_given_up(apimaster_emulator: Emulator, tmp_path: Path) -> None:
    """The first process saves its picture between the other one's look and its record that nobody knows."""
    folder = tmp_path / "album"
    first = start(apimaster_emulator, folder, "saving")
    other = start(apimaster_emulator, folder, "gives up")
    go_on(first)
    assert ends_well(first) == "{'saved': 1}"
    go_on(other)
    assert ends_well(other) == "{'saved': 1}"
    assert found(folder) == ("saved", 1)


@pytest.mark.apimaster_emulator(pictures="small", latency="manual")
def test_what_was_unknown_when_it_was_given_up_and_is_not_any_more(
    apimaster_emulator: Emulator, tmp_path: Path
) -> None:
    """The task of a request that nobody knew the outcome of is recorded late; then its process dies."""
    folder = tmp_path / "album"
    first = start(apimaster_emulator, folder, "begins,gives up")
    other = start(apimaster_emulator, folder, "accepted")  # it has taken the image over, and bought it
    go_on(first)
    comes_to_a_stop(first)  # the other one is taken for dead
    go_on(other)
    deadline = time.monotonic() + 30
    while [item.state for item in read_items(folder)] != ["submitted"]:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    other.send_signal(signal.SIGKILL)
    other.communicate()
    apimaster_emulator.finish()
    go_on(first)
    assert ends_well(first) == "{'saved': 1}", "it collects what is paid for"
    assert found(folder) == ("saved", 1)
    assert len(apimaster_emulator.bill.charges) == 1


@pytest.mark.parametrize("reason", ["halted", "crashed"])
@pytest.mark.apimaster_emulator(pictures="small", dialect="submit_as_image+b64")
def test_a_run_does_not_end_before_the_only_copy_of_a_picture_is_saved(
    apimaster_emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    saving, may_save = threading.Event(), threading.Event()
    commit, run_job = PendingFile.commit, ImageJob.run

    def wait_and_commit(self: PendingFile) -> Any:
        saving.set()
        assert may_save.wait(30)
        return commit(self)

    async def run_or_crash(self: ImageJob, context: Any) -> Any:
        if self.item.id == "crashes":
            await asyncio.to_thread(saving.wait, 30)
            raise LedgerError("disk full")
        return await run_job(self, context)

    monkeypatch.setattr(PendingFile, "commit", wait_and_commit)
    monkeypatch.setattr(ImageJob, "run", run_or_crash)
    requests = [{"prompt": "a castle", "id": "castle", "resolution": "0.5K"}]
    if reason == "crashed":
        requests.append({"prompt": "a tower", "id": "crashes"})

    async def work() -> None:
        async with AsyncAPIMaster(apimaster_emulator.api_key, base_url=apimaster_emulator.base_url) as client:
            run = AsyncBatch(client, tmp_path).run(requests)
            ended = asyncio.ensure_future(run.finish())
            await asyncio.to_thread(saving.wait, 30)
            if reason == "halted":
                run.halt()
            else:
                assert run.runner is not None
                while run.runner._crash is None:
                    await asyncio.sleep(0)
            for _ in range(20):  # as many turns of the loop as a run needs to end at once
                await asyncio.sleep(0)
            may_save.set()
            await asyncio.gather(ended, return_exceptions=True)

    asyncio.run(work())
    items = {item.id: item.state for item in read_items(tmp_path)}
    assert items["castle"] == "saved"
    assert len(list((tmp_path / "images").glob("castle*"))) == 1
