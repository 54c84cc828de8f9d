"""14 references of 10 MB in one request: memory above the idle client, and time beside base64 alone.

Times are the best of several runs: other work on the machine only ever adds to them, and a run lasts too long to be
spared. Each contender runs in a process of its own: memory that was once freed would hide the next one's.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from apimaster import APIMaster, AsyncAPIMaster

from .common import FIELDS, HEADERS, KEY, PROMPT, Memory, Server, goal, in_fresh_process, prepare
from .server import png

COUNT = 14
PIECE = 90 * 1024
SIZE = 10_000_000
LIMITS = {"sync": 1.0, "async": 5.0}
"""Megabytes above the idle client."""


def encode_alone(files: list[Path]) -> Iterator[bytes]:
    """What any client has to do at least: read the files in pieces, and encode them."""
    for file in files:
        with file.open("rb", buffering=0) as opened:
            while piece := opened.read(PIECE):
                yield binascii.b2a_base64(piece, newline=False)


def naive(files: list[Path]) -> dict[str, object]:
    """The request as one builds it when memory does not matter."""
    pictures = [f"data:image/png;base64,{base64.b64encode(file.read_bytes()).decode()}" for file in files]
    return {**FIELDS, "image_urls": pictures}


def contender(name: str, base_url: str, files: list[Path]) -> None:
    """Run one contender and print its figures as JSON."""
    seconds = 0.0
    if name == "sync":
        with APIMaster(KEY, base_url=base_url) as client:
            client.generate(PROMPT, mode="sync", references=files[:1])  # everything is loaded and connected
            memory, begun = Memory(), time.perf_counter()
            client.generate(PROMPT, mode="sync", references=files)
            seconds = time.perf_counter() - begun
    elif name == "async":

        async def main() -> tuple[Memory, float]:
            async with AsyncAPIMaster(KEY, base_url=base_url) as client:
                await client.generate(PROMPT, mode="sync", references=files[:1])
                memory, begun = Memory(), time.perf_counter()
                await client.generate(PROMPT, mode="sync", references=files)
                return memory, time.perf_counter() - begun

        memory, seconds = asyncio.run(main())
    elif name == "naive":
        with httpx.Client(headers=HEADERS, timeout=60) as bare:
            bare.post(f"{base_url}/images/generations", json=FIELDS)
            memory, begun = Memory(), time.perf_counter()
            bare.post(f"{base_url}/images/generations", json=naive(files))
            seconds = time.perf_counter() - begun
    else:
        memory, begun = Memory(), time.perf_counter()
        assert sum(map(len, encode_alone(files))) > COUNT * SIZE
        seconds = time.perf_counter() - begun
    print(json.dumps({"seconds": seconds, "mb": memory.peak_mb()}))


def main(rounds: int = 5) -> None:
    names = ["base64 alone", "sync", "async", "naive"]
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    with Server() as server, tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{number}.png" for number in range(COUNT)]
        picture = png(SIZE)
        for file in files:
            file.write_bytes(picture)
        for _ in range(rounds):
            for name in names:
                found[name].append(in_fresh_process("benchmarks.uploads", name, server.base_url, folder))
        body = server.facts()["body_bytes"]
    print(
        f"\nuploads: {COUNT} references of {SIZE / 1e6:.0f} MB, {rounds} rounds, {body / 1e6:.0f} MB of bodies in all"
    )
    for name, runs in found.items():
        memory = statistics.median(run["mb"] for run in runs)
        seconds, base = (min(run["seconds"] for run in found[each]) for each in (name, "base64 alone"))
        print(f"  {name:<20} {seconds * 1e3:8.0f} ms at best  × {seconds / base:5.2f}  {memory:7.1f} MB above idle")
        if name in LIMITS:
            goal(f"uploads, {name}: MB above the idle client", memory, LIMITS[name])
            goal(f"uploads, {name}: time, ratio to base64 alone", seconds / base, 1.5)


if __name__ == "__main__":
    prepare()
    if len(sys.argv) > 1:
        contender(sys.argv[1], sys.argv[2], sorted(Path(sys.argv[3]).iterdir()))
    else:
        main()
