"""A picture of 20 MB to disk: speed beside ``client.get(url).content``, and memory above the idle client.

Each download is the first large one in a process that is otherwise warm: memory that an earlier one has freed would
hide the memory of the next one, and may or may not save it some time, so that figures would jump.

Each of ours is compared with httpx of its own kind; the table's ratios are to the blocking one.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import httpx

from apimaster import APIMaster, AsyncAPIMaster, GeneratedImage

from .common import KEY, Memory, Server, goal, in_fresh_process, prepare, ratio_of, stopwatch, table

SIZE = 20_000_000
BASE = "httpx, sync: get().content"
BASE_ASYNC = "httpx, async: get().content"
OURS = {"apimaster, sync": BASE, "apimaster, async": BASE_ASYNC}


def contenders(base_url: str, folder: str, loop: asyncio.AbstractEventLoop) -> dict[str, Callable[[], object]]:
    """Ways to download the picture; each starts without the file."""
    url = f"{base_url.removesuffix('/v1')}/imgs/cat.png"
    image, target = GeneratedImage(url=url), Path(folder) / "cat.png"
    ours = APIMaster(KEY, base_url=base_url)
    ours_async = AsyncAPIMaster(KEY, base_url=base_url)
    bare = httpx.Client(timeout=60)
    bare_async = httpx.AsyncClient(timeout=60)

    async def get_async() -> None:
        target.write_bytes((await bare_async.get(url)).content)

    def fresh(fetch: Callable[[], object]) -> Callable[[], object]:
        def run() -> object:
            target.unlink(missing_ok=True)
            return fetch()

        return run

    return {
        BASE: fresh(lambda: target.write_bytes(bare.get(url).content)),
        BASE_ASYNC: fresh(lambda: loop.run_until_complete(get_async())),
        "apimaster, sync": fresh(lambda: ours.download(image, target)),
        "apimaster, async": fresh(lambda: loop.run_until_complete(ours_async.download(image, target))),
    }


def contender(name: str, server_port: str, folder: str) -> None:
    """Download once, and print seconds and the peak above the idle client as JSON."""
    base_url = f"http://127.0.0.1:{server_port}/v1"
    fetch = contenders(base_url, folder, asyncio.new_event_loop())[name]
    with httpx.Client() as control:
        control.get(f"http://127.0.0.1:{server_port}/_set?image_bytes=1000")
        fetch()  # everything is loaded and connected
        control.get(f"http://127.0.0.1:{server_port}/_set?image_bytes={SIZE}")
    memory = Memory()
    wall: list[float] = []
    cpu: list[float] = []
    with stopwatch(wall, cpu, 1):
        fetch()
    print(json.dumps({"wall": wall[0], "cpu": cpu[0], "mb": memory.peak_mb()}))


def main(rounds: int = 21) -> None:
    names = (BASE, BASE_ASYNC, *OURS)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    with Server() as server, tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds):
            for name in random.sample(names, len(names)):
                found[name].append(in_fresh_process("benchmarks.downloads", name, str(server.port), folder))
    figures = {
        kind: {name: [run[kind] for run in runs] for name, runs in found.items()} for kind in ("wall", "cpu", "mb")
    }
    table(f"downloads: {SIZE / 1e6:.0f} MB to disk, wall", figures["wall"], BASE, scale=1e3, unit="ms")
    table("downloads, CPU of the client", figures["cpu"], BASE, scale=1e3, unit="ms")
    for name, base in OURS.items():
        speed = ratio_of(figures["wall"][base], figures["wall"][name])
        goal(f"downloads, {name}: speed, ratio to {base}", speed, 1.4, at_least=True)
        goal(f"downloads, {name}: MB above the idle client", statistics.median(figures["mb"][name]), 2)


if __name__ == "__main__":
    prepare()
    if len(sys.argv) > 1:
        contender(*sys.argv[1:])
    else:
        main()
