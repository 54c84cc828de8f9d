"""Polls per CPU second at 64 at once: stock httpx, our transport, and the optional extra ``aiohttp``."""

from __future__ import annotations

import asyncio

import httpx

from apimaster import AsyncAPIMaster

from .common import HEADERS, KEY, MODEL, PROMPT, Server, goal, prepare, race_async, ratio_of, table

AT_ONCE = 64
STOCK, OURS, EXTRA = "httpx as it comes", "apimaster: retrieve(…)", "the same, transport='aiohttp'"


async def measure(server: Server, rounds: int, calls: int) -> None:
    stock = httpx.AsyncClient(headers=HEADERS, timeout=60)
    ours = AsyncAPIMaster(KEY, base_url=server.base_url)
    extra = AsyncAPIMaster(KEY, base_url=server.base_url, transport="aiohttp")
    server.set(task_seconds=10_000)
    task = await ours.submit(PROMPT)
    url = f"{server.base_url}/tasks/{task.id}?model={MODEL}"

    async def with_httpx() -> object:
        return (await stock.get(url)).json()["data"]["status"]

    contenders = {STOCK: with_httpx, OURS: lambda: ours.retrieve(task), EXTRA: lambda: extra.retrieve(task)}
    _, cpu = await race_async(contenders, rounds=rounds, calls=calls, at_once=AT_ONCE)
    table(f"polls, {AT_ONCE} at once, CPU of the client", cpu, STOCK)
    for name, seconds in cpu.items():
        print(f"  {name:<44} {1 / sorted(seconds)[len(seconds) // 2]:8.0f} polls per CPU second")
    for client in (stock, ours, extra):
        await client.aclose()
    goal("polls per CPU second with aiohttp, ratio to httpx", ratio_of(cpu[STOCK], cpu[EXTRA]), 3.0, at_least=True)


def main(rounds: int = 9, calls: int = 512) -> None:
    with Server() as server:
        asyncio.run(measure(server, rounds, calls))


if __name__ == "__main__":
    prepare()
    main()
