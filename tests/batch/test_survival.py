"""SIGKILL at fifty random moments of batches of forty images with mixed faults: nobody pays twice, nothing is lost.

The emulator is a process of its own and survives. Each batch is killed several times and resumed each time. In
the end its ledger, its pictures and the emulator's bill must agree.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import forked
import pytest
from PIL import Image

from apimaster.batch.place import read_items

BATCHES = 12
KILLS = 5  # of each batch, of which fifty in all must hit a run that is still going on
SEED = 20261123
FAULTS = {
    "server_error_500": 0.03,
    "unavailable_503": 0.03,
    "generation_failed_502": 0.03,
    "concurrency_limited": 0.01,
    "moderation": 0.03,
    "proxy_502_html": 0.03,
    "cut_before_acceptance": 0.02,
    "cut_after_acceptance": 0.03,
    "empty_success": 0.01,
    "task_failed": 0.06,
    "task_moderated": 0.03,
    "task_no_image": 0.02,
    "poll_502": 0.05,
    "poll_garbage": 0.03,
    "poll_cut": 0.03,
    "download_500": 0.05,
    "download_truncated": 0.03,
    "download_html_as_png": 0.02,
}
SERVE = """
import sys, json
from apimaster.emulator import Emulator
faults = json.loads(sys.argv[1])
with Emulator(latency="0.02-0.4", dialect="mixed", pictures="small", seed=7, faults=faults) as emulator:
    print(emulator.base_url, flush=True)
    sys.stdin.read()
"""

BATCH = """
import asyncio, logging, sys, warnings
from pathlib import Path
from apimaster import AsyncAPIMaster
from apimaster.batch import AsyncBatch

async def main(directory, base_url):
    requests = [{"prompt": f"{directory.name} picture {number}", "resolution": "0.5K"} for number in range(40)]
    async with AsyncAPIMaster("sk-emulator", base_url=base_url) as client:
        async for _ in AsyncBatch(client, directory, concurrency=24, timeout=30).run(requests):
            pass

logging.disable(logging.CRITICAL)
warnings.simplefilter("ignore")
asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
"""

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="a run is a fork, which this system does not have")


@pytest.fixture
def base_url() -> Iterator[str]:
    words = ["-c", SERVE, json.dumps(FAULTS)]
    with forked.start(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.kill()


def run(base_url: str, directory: Path, kill_after: float | None = None) -> int:
    """One run of a batch; gives its exit code, negative for the signal that ended it."""
    with forked.start(["-c", BATCH, str(directory), base_url]) as batch:
        if kill_after is not None:
            time.sleep(kill_after)  # the moment is what this is about
            batch.kill()
        return batch.wait()


def survive(base_url: str, directory: Path, moments: list[float]) -> list[int]:
    """Kill the batch at each of these moments, then let it come to its end. Gives the exit codes."""
    codes = [run(base_url, directory, moment) for moment in moments]
    for _ in range(5):
        codes.append(run(base_url, directory))
        if codes[-1] == 0 and all(item.state in ("saved", "failed", "unknown") for item in read_items(directory)):
            return codes
    raise AssertionError(f"{directory.name} does not come to an end: {codes}")


def asked(base_url: str, what: str) -> Any:
    with urlopen(f"{base_url.removesuffix('/v1')}/_emulator/{what}?last=1000000") as answer:
        return json.load(answer)


@pytest.mark.slow
def test_fifty_kills_and_nobody_pays_twice(base_url: str, tmp_path: Path) -> None:
    dice = random.Random(SEED)
    folders = [tmp_path / f"batch{number}" for number in range(BATCHES)]
    # Most of a run happens early; a third of the moments lie in its first tenth of a second.
    moments = [[dice.choice((0.1, 0.3, 0.8)) * dice.random() for _ in range(KILLS)] for _ in folders]
    with ThreadPoolExecutor(5) as pool:
        codes = list(pool.map(lambda pair: survive(base_url, *pair), zip(folders, moments, strict=True)))
    killed = sum(code == -signal.SIGKILL for each in codes for code in each)
    assert killed >= 50, f"only {killed} kills hit a run that was still going on: {codes}"

    prompts = {task["id"]: task["prompt"] for task in asked(base_url, "tasks")["tasks"]}
    refunded = Counter(entry["job_id"] for entry in asked(base_url, "bill")["entries"] if entry["kind"] == "refund")
    charged = Counter(entry["job_id"] for entry in asked(base_url, "bill")["entries"] if entry["kind"] == "charge")
    assert set(charged.values()) == {1}
    standing = Counter(prompts[job] for job in charged if job not in refunded)

    seen: Counter[str] = Counter()
    for folder in folders:
        items = list(read_items(folder))
        assert len(items) == 40
        for item in items:
            seen[item.state] += 1
            paid = standing.pop(item.request.prompt, 0)
            assert paid <= 1, f"charged {paid} times: {item}"
            if item.state == "saved":
                assert paid == 1, f"saved and not on the bill: {item}"
                with Image.open(folder / str(item.path)) as picture:
                    picture.load()
            elif item.state == "failed":
                assert paid == 0, f"charged, and called failed: {item}"
            else:
                assert item.state == "unknown"
                assert item.billed in ("maybe", "yes")
        assert len(list((folder / "images").iterdir())) == sum(item.state == "saved" for item in items)
        assert (folder / "index.html").exists()
    assert not standing, f"charged, and no line knows of it: {standing}"
    assert seen["saved"] > BATCHES * 40 * 0.4, seen
    print(f"{killed} kills; {dict(seen)}")
