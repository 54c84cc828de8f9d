"""14 references of 10 MB in one request: time beside base64 alone, and memory above the idle client.

Contenders take turns in one process for their times. For their memory, each has a process of its own, since memory that
one has freed would hide that of the next.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx

from apimaster import APIMaster, AsyncAPIMaster

from .common import (
    FIELDS,
    HEADERS,
    KEY,
    PROMPT,
    Server,
    goal,
    in_fresh_process,
    prepare,
    print_peak,
    race,
    ratio_of,
    table,
)
from .server import png

COUNT = 14
PIECE = 90 * 1024
SIZE = 10_000_000
BASE = "base64 alone"
LIMITS = {"sync": 1.0, "async": 5.0}
"""Megabytes above the idle client."""


def encode_alone(files: list[Path]) -> Iterator[bytes]:
    """The least that any client has to do: read the files in pieces, and encode them."""
    for file in files:
        with file.open("rb", buffering=0) as opened:
            while piece := opened.read(PIECE):
                yield binascii.b2a_base64(piece, newline=False)


def naive(files: list[Path]) -> dict[str, object]:
    """The request of a program that does not care about memory."""
    pictures = [f"data:image/png;base64,{base64.b64encode(file.read_bytes()).decode()}" for file in files]
    return {**FIELDS, "image_urls": pictures}


def contenders(base_url: str, loop: asyncio.AbstractEventLoop) -> dict[str, Callable[[list[Path]], object]]:
    """Ways to send these files."""
    ours = APIMaster(KEY, base_url=base_url)
    ours_async = AsyncAPIMaster(KEY, base_url=base_url)
    bare = httpx.Client(headers=HEADERS, timeout=60)
    return {
        BASE: lambda files: sum(map(len, encode_alone(files))),
        "sync": lambda files: ours.generate(PROMPT, mode="sync", references=files),
        "async": lambda files: loop.run_until_complete(ours_async.generate(PROMPT, mode="sync", references=files)),
        "naive": lambda files: bare.post(f"{base_url}/images/generations", json=naive(files)),
    }


def main(rounds: int = 15) -> None:
    with Server() as server, tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{number}.png" for number in range(COUNT)]
        picture = png(SIZE)
        for file in files:
            file.write_bytes(picture)
        loop = asyncio.new_event_loop()
        ways = contenders(server.base_url, loop)
        few = {name: (lambda send=ways[name]: send(files)) for name in (BASE, *LIMITS)}
        wall, cpu = race(few, rounds=rounds, calls=1, warm=0)
        memory = {
            name: [in_fresh_process("benchmarks.uploads", name, server.base_url, folder) for _ in range(3)]
            for name in ways
        }
        once, _ = race({BASE: few[BASE], "naive": lambda: ways["naive"](files)}, rounds=3, calls=1, warm=0)
        loop.close()
    title = f"uploads: {COUNT} references of {SIZE / 1e6:.0f} MB"
    table(f"{title}, wall", wall, BASE, scale=1e3, unit="ms")
    table(f"{title}, CPU of the client", cpu, BASE, scale=1e3, unit="ms")
    table(f"{title}, the naive way", once, BASE, scale=1e3, unit="ms")
    for name, runs in memory.items():
        print(f"  {name:<20} {statistics.median(runs):7.1f} MB above idle")
    for name, limit in LIMITS.items():
        goal(f"uploads, {name}: MB above the idle client", statistics.median(memory[name]), limit)
        goal(f"uploads, {name}: time, ratio to base64 alone", ratio_of(wall[name], wall[BASE]), 1.5)


if __name__ == "__main__":
    prepare()
    if len(sys.argv) > 1:
        print_peak(contenders(sys.argv[2], asyncio.new_event_loop())[sys.argv[1]], sorted(Path(sys.argv[3]).iterdir()))
    else:
        main()
