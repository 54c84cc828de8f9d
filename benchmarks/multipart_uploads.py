"""14 references of 10 MB by upload: time beside bare multipart uploads with httpx, and memory above the idle client.

Ours also hashes the files, checks that the pictures are whole, and buys the image. Before each call the files get new
bytes, since a client uploads a picture once. The blocking contenders upload one file after the other as a program of
few lines does, and the asyncio ones as many at once as the client. Memory is measured in a process for each contender.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from apimaster import APIMaster, AsyncAPIMaster
from apimaster._flows.uploads import UPLOADS_AT_ONCE

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
SIZE = 10_000_000
BASES = {"sync": "bare httpx.Client", "async": "bare httpx.AsyncClient"}
MEMORY_LIMIT = 2.0
"""Megabytes above the idle client."""
TIME_LIMIT = 1.3
CHANGES = itertools.count(1)


def change(files: list[Path]) -> list[Path]:
    """Give each file bytes that no client has seen."""
    for file in files:
        with file.open("r+b") as opened:
            opened.seek(2_000)
            opened.write(next(CHANGES).to_bytes(8, "big"))
    return files


def upload_all(client: httpx.Client, base_url: str, files: list[Path]) -> None:
    """What a program of few lines does."""
    urls = []
    for file in files:
        with file.open("rb") as opened:
            reply = client.post(f"{base_url}/uploads/images", files={"file": ("a.png", opened, "image/png")})
            urls.append(reply.raise_for_status().json()["url"])
    client.post(f"{base_url}/images/generations", json={**FIELDS, "image_urls": urls}).raise_for_status()


async def upload_all_async(client: httpx.AsyncClient, base_url: str, files: list[Path]) -> None:
    """The same, several at once."""
    slots = asyncio.Semaphore(UPLOADS_AT_ONCE)

    async def one(file: Path) -> str:
        async with slots:
            with file.open("rb") as opened:
                reply = await client.post(f"{base_url}/uploads/images", files={"file": ("a.png", opened, "image/png")})
                url: str = reply.raise_for_status().json()["url"]
                return url

    urls = await asyncio.gather(*map(one, files))
    (await client.post(f"{base_url}/images/generations", json={**FIELDS, "image_urls": urls})).raise_for_status()


def contenders(base_url: str, loop: asyncio.AbstractEventLoop) -> dict[str, Callable[[list[Path]], object]]:
    """Ways to upload these files and to buy an image with them."""
    ours = APIMaster(KEY, base_url=base_url)
    ours_async = AsyncAPIMaster(KEY, base_url=base_url)
    bare = httpx.Client(headers=HEADERS, timeout=60)
    bare_async = httpx.AsyncClient(headers=HEADERS, timeout=60)
    settings: dict[str, Any] = {"mode": "sync", "references_by": "upload"}
    return {
        BASES["sync"]: lambda files: upload_all(bare, base_url, files),
        BASES["async"]: lambda files: loop.run_until_complete(upload_all_async(bare_async, base_url, files)),
        "sync": lambda files: ours.generate(PROMPT, references=files, **settings),
        "async": lambda files: loop.run_until_complete(ours_async.generate(PROMPT, references=files, **settings)),
    }


def main(rounds: int = 15) -> None:
    with Server() as server, tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{number:02}.png" for number in range(COUNT)]
        picture = png(SIZE)
        for file in files:
            file.write_bytes(picture)
        loop = asyncio.new_event_loop()
        ways = contenders(server.base_url, loop)
        wall, cpu = race(
            {name: (lambda send=send: send(change(files))) for name, send in ways.items()},
            rounds=rounds,
            calls=1,
            warm=0,
        )
        change(files)
        memory = {
            name: [in_fresh_process("benchmarks.multipart_uploads", name, server.base_url, folder) for _ in range(3)]
            for name in ways
        }
        uploads = server.facts()["uploads"]
        loop.close()
    assert uploads == COUNT * rounds * 4 + (COUNT + 1) * 6 + COUNT * 6, uploads  # nothing was remembered by mistake
    for kind, base in BASES.items():
        of_kind = {name: wall[name] for name in (base, kind)}
        table(f"uploads: {COUNT} files of {SIZE / 1e6:.0f} MB, {kind}, wall", of_kind, base, scale=1e3, unit="ms")
        table("the same, CPU of the client", {name: cpu[name] for name in of_kind}, base, scale=1e3, unit="ms")
    for name, runs in memory.items():
        print(f"  {name:<24} {statistics.median(runs):7.1f} MB above idle")
    for kind, base in BASES.items():
        goal(f"multipart_uploads, {kind}: MB above the idle client", statistics.median(memory[kind]), MEMORY_LIMIT)
        goal(f"multipart_uploads, {kind}: time, ratio to {base}", ratio_of(wall[kind], wall[base]), TIME_LIMIT)


if __name__ == "__main__":
    prepare()
    if len(sys.argv) > 1:
        print_peak(contenders(sys.argv[2], asyncio.new_event_loop())[sys.argv[1]], sorted(Path(sys.argv[3]).iterdir()))
    else:
        main()
