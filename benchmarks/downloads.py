"""A picture of 20 MB to disk: throughput beside ``client.get(url).content``, and memory. One process per contender.

Speeds are the best of several runs: other work on the machine only ever slows them down.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import httpx

from apimaster import APIMaster, AsyncAPIMaster, GeneratedImage

from .common import KEY, Memory, Server, goal, in_fresh_process, prepare

SIZE = 20_000_000
TIMES = 5
BASE = "httpx: get().content"


def contender(name: str, base_url: str, folder: str) -> None:
    """Download a few times and print the figures as JSON; the first time is for memory, the rest for speed."""
    url = f"{base_url.removesuffix('/v1')}/imgs/cat.png"
    image = GeneratedImage(url=url)
    target = Path(folder) / f"{name.split(':')[0]}.png"
    seconds: list[float] = []
    if name == "apimaster, async":

        async def main() -> float:
            async with AsyncAPIMaster(KEY, base_url=base_url) as client:
                await client.models()
                memory = Memory()
                for _ in range(TIMES):
                    target.unlink(missing_ok=True)
                    begun = time.perf_counter()
                    await client.download(image, target)
                    seconds.append(time.perf_counter() - begun)
                return memory.peak_mb()

        peak = asyncio.run(main())
    elif name == "apimaster, sync":
        with APIMaster(KEY, base_url=base_url) as client:
            client.models()
            memory = Memory()
            for _ in range(TIMES):
                target.unlink(missing_ok=True)
                begun = time.perf_counter()
                client.download(image, target)
                seconds.append(time.perf_counter() - begun)
        peak = memory.peak_mb()
    else:
        with httpx.Client(timeout=60) as bare:
            bare.get(f"{base_url}/models")
            memory = Memory()
            for _ in range(TIMES):
                target.unlink(missing_ok=True)
                begun = time.perf_counter()
                target.write_bytes(bare.get(url).content)
                seconds.append(time.perf_counter() - begun)
        peak = memory.peak_mb()
    assert target.stat().st_size >= SIZE
    print(json.dumps({"seconds": min(seconds[1:]), "mb": peak}))


def main(rounds: int = 5) -> None:
    names = [BASE, "apimaster, sync", "apimaster, async"]
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    with Server() as server, tempfile.TemporaryDirectory() as folder:
        server.set(image_bytes=SIZE)
        for _ in range(rounds):
            for name in names:
                found[name].append(in_fresh_process("benchmarks.downloads", name, server.base_url, folder))
    print(f"\ndownloads: {SIZE / 1e6:.0f} MB to disk, {rounds} rounds of {TIMES}")
    base = min(run["seconds"] for run in found[BASE])
    for name, runs in found.items():
        best = min(run["seconds"] for run in runs)
        memory = statistics.median(run["mb"] for run in runs)
        print(f"  {name:<24} {SIZE / 1e6 / best:7.0f} MB/s at best  × {base / best:5.2f}  {memory:6.1f} MB above idle")
        if name != BASE:
            goal(f"downloads, {name}: speed, ratio to get().content", base / best, 1.4, at_least=True)
            goal(f"downloads, {name}: MB above idle", memory, 2)


if __name__ == "__main__":
    prepare()
    if len(sys.argv) > 1:
        contender(*sys.argv[1:])
    else:
        main()
