"""One call at a time, ``generate(mode="sync")``, on a kept-alive connection: the overhead over bare httpx."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import openai

from apimaster import APIMaster, AsyncAPIMaster

from .common import FIELDS, HEADERS, KEY, MODEL, PROMPT, Server, goal, prepare, race, race_async, ratio_of, table

ASKED: dict[str, Any] = {"aspect_ratio": "16:9", "resolution": "1K", "mode": "sync"}
BASE, OURS = "httpx: post(json=…).json()", "apimaster: generate(…)"


def blocking(server: Server, rounds: int, calls: int) -> None:
    url = f"{server.base_url}/images/generations"
    bare = httpx.Client(headers=HEADERS)
    ours = APIMaster(KEY, base_url=server.base_url)
    sdk = openai.OpenAI(api_key=KEY, base_url=server.base_url, max_retries=0)
    contenders = {
        BASE: lambda: bare.post(url, json=FIELDS).json()["data"][0]["url"],
        OURS: lambda: ours.generate(PROMPT, **ASKED).images[0].url,
        "openai: images.generate(…)": lambda: sdk.images.generate(
            model=MODEL,
            prompt=PROMPT,
            size="16:9",
            extra_body={"resolution": "1K"},
        ),
    }
    wall, cpu = race(contenders, rounds=rounds, calls=calls)
    table("one shot, sync, wall", wall, BASE)
    table("one shot, sync, CPU of the client", cpu, BASE)

    def new_client_per_call() -> None:
        with httpx.Client(headers=HEADERS) as client:
            client.post(url, json=FIELDS).json()

    few, _ = race({BASE: contenders[BASE], "httpx: a new client for each call": new_client_per_call}, rounds=5, calls=4)
    table("one shot, sync, with a new client for each call", few, BASE)
    goal("one shot, sync, ratio to httpx", ratio_of(wall[OURS], wall[BASE]), 1.25)


async def asynchronous(server: Server, rounds: int, calls: int) -> None:
    url = f"{server.base_url}/images/generations"
    bare = httpx.AsyncClient(headers=HEADERS)
    ours = AsyncAPIMaster(KEY, base_url=server.base_url)
    sdk = openai.AsyncOpenAI(api_key=KEY, base_url=server.base_url, max_retries=0)

    async def with_httpx() -> object:
        return (await bare.post(url, json=FIELDS)).json()["data"][0]["url"]

    async def with_ours() -> object:
        return (await ours.generate(PROMPT, **ASKED)).images[0].url

    async def with_sdk() -> object:
        return await sdk.images.generate(model=MODEL, prompt=PROMPT, size="16:9", extra_body={"resolution": "1K"})

    contenders = {BASE: with_httpx, OURS: with_ours, "openai: images.generate(…)": with_sdk}
    wall, cpu = await race_async(contenders, rounds=rounds, calls=calls, at_once=1)
    table("one shot, async, wall", wall, BASE)
    table("one shot, async, CPU of the client", cpu, BASE)
    await ours.aclose()
    await bare.aclose()
    await sdk.close()
    goal("one shot, async, ratio to httpx", ratio_of(wall[OURS], wall[BASE]), 1.25)


def main(rounds: int = 21, calls: int = 100) -> None:
    with Server() as server:
        blocking(server, rounds, calls)
        asyncio.run(asynchronous(server, rounds, calls))


if __name__ == "__main__":
    prepare()
    main()
