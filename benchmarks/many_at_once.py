"""Many one-shot calls at once: 64 callers beside stock httpx, and a thousand calls of one second in flight.

The stock client keeps its defaults, pool limits included, as in a program that makes one and shares it.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import httpx

from apimaster import APIMaster, AsyncAPIMaster

from .common import FIELDS, HEADERS, KEY, PROMPT, Server, goal, prepare, race_async, ratio_of, stopwatch, table

AT_ONCE = 64
STOCK, WIDE, OURS = "httpx as it comes", "httpx, pool of 64", "apimaster: generate(…)"


async def beside_httpx(server: Server, rounds: int, calls: int) -> None:
    url = f"{server.base_url}/images/generations"
    stock = httpx.AsyncClient(headers=HEADERS, timeout=60)
    wide = httpx.AsyncClient(
        headers=HEADERS, timeout=60, limits=httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE)
    )
    ours = AsyncAPIMaster(KEY, base_url=server.base_url)

    def with_httpx(client: httpx.AsyncClient):  # type: ignore[no-untyped-def]
        async def call() -> object:
            return (await client.post(url, json=FIELDS)).json()["data"][0]["url"]

        return call

    async def with_ours() -> object:
        return (await ours.generate(PROMPT, aspect_ratio="16:9", resolution="1K", mode="sync")).images[0].url

    contenders = {STOCK: with_httpx(stock), WIDE: with_httpx(wide), OURS: with_ours}
    wall, cpu = await race_async(contenders, rounds=rounds, calls=calls, at_once=AT_ONCE)
    table(f"{AT_ONCE} at once, async, wall", wall, STOCK)
    table(f"{AT_ONCE} at once, async, CPU of the client", cpu, STOCK)
    for client in (stock, wide, ours):
        await client.aclose()
    goal("64 at once, async, ratio to httpx per call", ratio_of(wall[OURS], wall[STOCK]), 0.6)


def in_threads(server: Server, rounds: int, calls: int) -> None:
    url = f"{server.base_url}/images/generations"
    stock = httpx.Client(headers=HEADERS, timeout=60)
    ours = APIMaster(KEY, base_url=server.base_url)
    broken: list[httpx.TransportError] = []

    def with_httpx(_: int) -> object:
        try:
            return stock.post(url, json=FIELDS).json()["data"][0]["url"]
        except httpx.TransportError as error:  # its pool closes connections that another thread is using
            broken.append(error)
            return None

    contenders = {
        STOCK: with_httpx,
        OURS: lambda _: ours.generate(PROMPT, aspect_ratio="16:9", resolution="1K", mode="sync").images[0].url,
    }
    wall: dict[str, list[float]] = {name: [] for name in contenders}
    cpu: dict[str, list[float]] = {name: [] for name in contenders}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for round_number in range(rounds):
            for name in sorted(contenders, reverse=bool(round_number % 2)):
                list(pool.map(contenders[name], range(AT_ONCE)))
                with stopwatch(wall[name], cpu[name], calls):
                    list(pool.map(contenders[name], range(calls)))
    table(f"{AT_ONCE} threads, wall ({len(broken)} of the stock client's calls failed)", wall, STOCK)
    table(f"{AT_ONCE} threads, CPU of the client", cpu, STOCK)


async def a_thousand(server: Server, count: int = 1000) -> None:
    server.set(latency=1)
    url = f"{server.base_url}/images/generations"
    seconds: list[float] = []
    failed = 0
    for _ in range(3):
        async with AsyncAPIMaster(KEY, base_url=server.base_url) as ours:
            started = time.perf_counter()
            calls = [ours.generate(PROMPT, aspect_ratio="16:9", mode="sync") for _ in range(count)]
            ends = await asyncio.gather(*calls, return_exceptions=True)
            seconds.append(time.perf_counter() - started)
            failed += sum(isinstance(end, BaseException) for end in ends)
    async with httpx.AsyncClient(headers=HEADERS) as stock:
        started = time.perf_counter()
        answers = await asyncio.gather(*(stock.post(url, json=FIELDS) for _ in range(count)), return_exceptions=True)
        lost = sum(isinstance(answer, BaseException) for answer in answers)
    print(
        f"\n{count} calls of 1 s in flight: ours {statistics.median(seconds):.2f} s (of 3 runs), {failed} failed;",
        end="",
    )
    print(f" httpx as it comes {time.perf_counter() - started:.2f} s, {lost} failed")
    goal("1,000 calls of 1 s: failed", failed, 0)
    goal("1,000 calls of 1 s: seconds until all are done", max(seconds), 2.5)
    server.set(latency=0)


def main(rounds: int = 9, calls: int = 512) -> None:
    with Server() as server:
        asyncio.run(beside_httpx(server, rounds, calls))
        in_threads(server, rounds, calls)
        asyncio.run(a_thousand(server))


if __name__ == "__main__":
    prepare()
    main()
