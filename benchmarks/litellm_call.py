"""The overhead of litellm-apimaster over LiteLLM itself and the necessary HTTP calls.

The base is a custom handler that does nothing, called through LiteLLM, and then the same HTTP call on one shared client
without LiteLLM: a submit, which the server answers with the finished picture, so that nothing waits. LiteLLM's own 1.1
to 1.7 ms are in both. With 64 at once, the base is a minimal handler on a stock ``httpx.AsyncClient``.
"""

from __future__ import annotations

import asyncio
import logging
import os
from typing import Any

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
os.environ.setdefault("LITELLM_MODE", "PRODUCTION")

import httpx
import litellm
from litellm.types.utils import ImageObject

import litellm_apimaster

from .common import FIELDS, HEADERS, KEY, MODEL, PROMPT, Server, goal, prepare, race, race_async, ratio_of, table

ASKED: dict[str, Any] = {"prompt": PROMPT, "size": "16:9", "resolution": "1K", "api_key": KEY}
BASE, OURS = "a handler that does nothing, then bare httpx", "litellm_apimaster"
MINIMAL = "a minimal handler on a stock AsyncClient"
AT_ONCE = 64


class Nothing(litellm.CustomLLM):
    """Answers at once."""

    def image_generation(self, **call: Any) -> Any:  # type: ignore[override]
        return filled(call["model_response"], "https://example.com/a.png")

    async def aimage_generation(self, **call: Any) -> Any:  # type: ignore[override]
        return filled(call["model_response"], "https://example.com/a.png")


class Minimal(litellm.CustomLLM):
    """Submits, without any of the checks that a provider has to make."""

    client: httpx.AsyncClient

    async def aimage_generation(self, **call: Any) -> Any:  # type: ignore[override]
        return filled(call["model_response"], await submit(self.client, call["api_base"]))


def filled(answer: Any, url: str) -> Any:
    answer.created, answer.data = 1, [ImageObject(url=url)]
    return answer


async def submit(client: httpx.AsyncClient, base_url: str) -> str:
    return url_of((await client.post(f"{base_url}/images/generations/async", json=FIELDS)).json())


def url_of(reply: Any) -> str:
    return str(reply["data"][0]["url"])


def main(rounds: int = 15, calls: int = 40) -> None:
    logging.disable(logging.CRITICAL)
    litellm.suppress_debug_info = True
    minimal = Minimal()
    litellm.custom_provider_map += [
        {"provider": "nothing", "custom_handler": Nothing()},
        {"provider": "minimal", "custom_handler": minimal},
    ]
    litellm_apimaster.register()
    with Server() as server:
        server.set(at_once=1)
        blocking(server, rounds, calls)
        asyncio.run(asynchronous(server, minimal, rounds, calls))


def blocking(server: Server, rounds: int, calls: int) -> None:
    bare = httpx.Client(headers=HEADERS)

    def base() -> str:
        litellm.image_generation(model=f"nothing/{MODEL}", api_base=server.base_url, **ASKED)
        return url_of(bare.post(f"{server.base_url}/images/generations/async", json=FIELDS).json())

    def ours() -> Any:
        return litellm.image_generation(model=f"apimaster/{MODEL}", api_base=server.base_url, **ASKED).data[0].url

    wall, cpu = race({BASE: base, OURS: ours}, rounds=rounds, calls=calls)
    table("LiteLLM, sync, wall", wall, BASE)
    table("LiteLLM, sync, CPU of the client", cpu, BASE)
    goal("LiteLLM call, sync, ratio to its floor", ratio_of(wall[OURS], wall[BASE]), 1.15)


async def asynchronous(server: Server, minimal: Minimal, rounds: int, calls: int) -> None:
    bare = httpx.AsyncClient(headers=HEADERS)
    minimal.client = httpx.AsyncClient(headers=HEADERS)

    def through(provider: str) -> Any:
        return litellm.aimage_generation(model=f"{provider}/{MODEL}", api_base=server.base_url, **ASKED)

    async def base() -> str:
        await through("nothing")
        return await submit(bare, server.base_url)

    async def ours() -> Any:
        return (await through("apimaster")).data[0].url

    async def with_minimal() -> Any:
        return (await through("minimal")).data[0].url

    wall, cpu = await race_async({BASE: base, OURS: ours}, rounds=rounds, calls=calls, at_once=1)
    table("LiteLLM, async, wall", wall, BASE)
    table("LiteLLM, async, CPU of the client", cpu, BASE)
    many, _ = await race_async({MINIMAL: with_minimal, OURS: ours}, rounds=5, calls=4 * AT_ONCE, at_once=AT_ONCE)
    table(f"LiteLLM, async, {AT_ONCE} at once, wall", many, MINIMAL)
    await bare.aclose()
    await minimal.client.aclose()
    goal("LiteLLM call, async, ratio to its floor", ratio_of(wall[OURS], wall[BASE]), 1.15)
    goal(f"LiteLLM call, {AT_ONCE} at once, ratio to a minimal handler", ratio_of(many[OURS], many[MINIMAL]), 0.6)


if __name__ == "__main__":
    prepare()
    main()
