"""A batch of 10,000 requests with 1,000 under way, against the emulator: speed, CPU, memory, polls, waiting.

    python -m benchmarks.batch [requests] [under way]

The emulator runs on the other core, with image jobs of 2 to 6 s and small pictures. The benchmark compares the batch
with the bare calls that it can't do without: for each image one POST, as many polls as the batch made, and one GET of
the picture, through a plain ``httpx.AsyncClient`` with 16 callers, its best number.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import httpx

from apimaster import AsyncAPIMaster
from apimaster.batch import AsyncBatch

from .common import FIELDS, goal, prepare

KEY = "sk-emulator"
LOW, HIGH = 2.0, 6.0
SERVE = """
import os, sys
sys.path.insert(0, sys.argv[1])
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {max(range(os.cpu_count() or 1))})
from apimaster.emulator import Emulator
latency = float(sys.argv[2]), float(sys.argv[3])
with Emulator(latency=latency, pictures="small", dialect=sys.argv[4], history=50000) as emulator:
    print(emulator.base_url, flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def emulator(low: float, high: float, dialect: str = "tracked") -> Iterator[str]:
    """An emulator in a process of its own, on the last core."""
    source = str(Path(__file__).resolve().parent.parent / "src")
    command = [sys.executable, "-c", SERVE, source, str(low), str(high), dialect]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def requests_of(base_url: str) -> Counter[str]:
    """How many requests of each kind the emulator got."""
    with urlopen(f"{base_url.removesuffix('/v1')}/_emulator/requests?last=50000") as answer:
        kept = json.load(answer)["requests"]
    kinds: Counter[str] = Counter()
    for request in kept:
        path = request["path"]
        kinds["submits" if path.endswith("/async") else "polls" if "/tasks/" in path else "downloads"] += 1
    return kinds


async def run_batch(base_url: str, directory: Path, count: int, concurrency: int) -> dict[str, float]:
    """Run the batch; figures per image."""
    requests = [{"prompt": f"picture {number}", "tags": ["benchmark"]} for number in range(count)]
    waited = 0.0
    states: Counter[str] = Counter()
    async with AsyncAPIMaster(KEY, base_url=base_url, max_polls_per_second=2000) as client:
        clock, cpu = time.perf_counter(), time.process_time()
        async for item in AsyncBatch(client, directory, concurrency=concurrency).run(requests):
            states[item.state] += 1
            waited += (item.finished_at or 0.0) - (item.submitted_at or 0.0)
        seconds, cpu = time.perf_counter() - clock, time.process_time() - cpu
    print(f"  {dict(states)}")
    return {"seconds": seconds, "cpu": cpu / count, "waited": waited / count}


async def run_bare_calls(base_url: str, count: int, polls: int) -> float:
    """CPU seconds per image of the calls alone."""
    headers = {"authorization": f"Bearer {KEY}"}
    left = iter(range(count))

    async def caller(client: httpx.AsyncClient) -> None:
        for number in left:
            reply = await client.post(f"{base_url}/images/generations/async", json={**FIELDS, "prompt": f"{number}"})
            task = reply.json()["data"][0]["task_id"]
            for _ in range(polls):
                state = (await client.get(f"{base_url}/tasks/{task}", params={"model": FIELDS["model"]})).json()
            images = state["data"]["result"]["images"]
            (await client.get(images[0]["url"])).raise_for_status()

    async with httpx.AsyncClient(headers=headers, trust_env=False) as client:
        await warm_up(client, base_url)
        cpu = time.process_time()
        await asyncio.gather(*(caller(client) for _ in range(16)))
        return (time.process_time() - cpu) / count


async def warm_up(client: httpx.AsyncClient, base_url: str) -> None:
    """Open a connection before the measurement."""
    await client.get(f"{base_url}/models")


def resident_mb(field: str) -> float:
    """``VmRSS`` or ``VmHWM`` of this process, in MB (Linux)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise LookupError(field)


def main() -> None:
    """Print the figures."""
    numbers = [int(word) for word in sys.argv[1:] if word.isdecimal()]
    count, concurrency = (*numbers, *(10_000, 1_000)[len(numbers) :])[:2]
    prepare()
    directory = Path(tempfile.mkdtemp(prefix="apimaster-batch-"))
    try:
        with emulator(LOW, HIGH) as base_url:
            print(f"batch of {count}, {concurrency} under way, image jobs of {LOW:g} to {HIGH:g} s")
            idle = resident_mb("VmRSS")
            Path("/proc/self/clear_refs").write_text("5")  # the peak starts over from here
            figures = asyncio.run(run_batch(base_url, directory / "out", count, concurrency))
            peak = resident_mb("VmHWM")
            kinds = requests_of(base_url)
        size = sum(path.stat().st_size for path in (directory / "out").glob("ledger*"))
    finally:
        shutil.rmtree(directory)
    polls = kinds["polls"] / count
    with emulator(0.0, 0.0) as base_url:
        bare = asyncio.run(run_bare_calls(base_url, 1_000, max(1, round(polls))))
    mean = (LOW + HIGH) / 2
    speed, most = count / figures["seconds"], concurrency / mean
    print(f"  {speed:.0f} images/s over {figures['seconds']:.1f} s (image jobs alone allow {most:.0f})")
    print(f"  CPU per image {figures['cpu'] * 1e3:.2f} ms; bare httpx calls {bare * 1e3:.2f} ms ({round(polls)} polls)")
    print(f"  memory: {idle:.0f} MB before, {peak:.0f} MB at most; ledger {size / 1e6:.1f} MB")
    print(f"  polls per image {polls:.2f}; other requests {dict(kinds)}")
    share = 1 - mean / figures["waited"]
    print(f"  an image took {figures['waited']:.2f} s, of which its image job {mean:.2f}: {share:.0%} more waiting")
    goal("CPU per image, times the bare calls", figures["cpu"] / bare, 2.5)
    goal("peak memory, MB", peak, 250)


if __name__ == "__main__":
    main()
